"""Photos as data: sources and their classes, parts, groups of one object, reviewed labels."""
