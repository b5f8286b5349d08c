"""shelfcast: product sales forecasting with a pretrained language model as backbone."""
