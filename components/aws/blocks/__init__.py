"""What components of this cloud are made of: the only components that another one may build."""
