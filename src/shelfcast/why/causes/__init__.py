"""Effects of price and promotion on sales by double machine learning, with what they assume and checks of it"""
