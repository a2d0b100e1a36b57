"""Compare recipes on pairs of cities: what is run, the runs, their tables, differences with intervals."""
