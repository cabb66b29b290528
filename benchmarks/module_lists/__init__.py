"""The declared modules, a group of families a file (`module_list.py` puts them together)."""
