"""What a cluster needs before anybody works in it: controllers, teams' namespaces, rules of admission."""
