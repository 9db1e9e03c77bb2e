"""The language model behind one small interface, and the contract of the compiled graph."""
