"""What a record is: the contract's fields and its timestamps."""
