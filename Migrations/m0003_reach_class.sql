-- The classes of `binding.reach`, as a table: a view of VALUES would be put into a temporary table for each search.
DROP VIEW reach_class;
CREATE TABLE reach_class (reach INTEGER PRIMARY KEY) STRICT;
INSERT INTO reach_class VALUES (1), (16), (256), (4096), (65536);
