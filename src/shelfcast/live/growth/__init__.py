"""The panel of a trained market with the weeks that came later."""
