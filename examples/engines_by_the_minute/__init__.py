"""Airlines pay for their engines by the flying minute: the flights that left New York in 2013, billed to the cent."""
