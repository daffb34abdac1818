"""Application Auto Scaling: what is registered and put is kept and told back. Nothing is scaled: an endpoint is one
process of this machine, whatever its policies say."""
