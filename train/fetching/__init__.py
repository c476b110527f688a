"""Data sets from the web: downloaded, checked, unpacked, laid out. Commands `data fetch` and `data list`."""
