"""How good label maps are: measures, reports and pictures of them."""
