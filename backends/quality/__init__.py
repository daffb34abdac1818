"""What a user allows of artifacts that predict less exactly than the model's own library, and whether they keep it."""
