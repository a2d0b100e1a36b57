"""The public interface: the functions and objects that ``import c2seg`` gives, one module each. Import them from there."""
