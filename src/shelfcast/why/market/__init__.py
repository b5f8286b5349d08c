"""A market's own causes: every estimate and check as a frame for pages"""
