"""Hostile inputs: files that were mutated or made to harm, and a campaign that gives thousands of them to c2seg."""
