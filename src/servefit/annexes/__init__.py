"""What people use of the annexes: commands, and reports. Nothing in the core imports it; ``annexed`` finds it by name.

``fleet`` has jobs on several hosts, and ``aws`` the server that answers boto3.
"""
