"""The commands and reports of the annexes. Nothing in the core imports them; ``annexed`` finds them by name.

``fleet`` has jobs on several hosts, and ``aws`` the server that answers boto3.
"""
