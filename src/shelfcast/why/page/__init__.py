"""A page on which people try other plans"""
