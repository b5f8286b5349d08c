"""shelfcast: product sales forecasting with a pretrained language model as backbone."""

import os

# Threads that spin while they wait make a busy machine twenty times slower (measured on two cores); read at torch's import.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
