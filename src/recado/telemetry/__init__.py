"""What an operator can see of the product at work: which turn a line is about, spans, steps, figures."""
