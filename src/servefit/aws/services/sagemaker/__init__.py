"""Amazon SageMaker: a module for each kind of resource, and ``service`` with all operations."""
