-- Containers of an earlier boot that their source has not announced again: they are not installed (restore = "confirm").
CREATE TABLE awaiting (
  container INTEGER PRIMARY KEY REFERENCES container (row) ON DELETE CASCADE
) STRICT;
