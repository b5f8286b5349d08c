"""What moved one product's forecast, in units: groups of inputs, and inside them words, weeks and regions."""
