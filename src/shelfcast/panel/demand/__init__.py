"""Demand of weeks that stock-outs cut, estimated before anything is learned."""
