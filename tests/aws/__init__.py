"""A package, which folders of tests are not: its server ends with the last of its tests."""
