"""Many bins through one broker: what a bin says of itself and does when it is asked, and the desk that asks them."""
