"""Networks with an encode/decode split."""
