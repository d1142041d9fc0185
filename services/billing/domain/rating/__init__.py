"""Rating: a price and a quantity become lines of money, each with its explanation. One file a model."""
