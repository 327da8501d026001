-- SQLite puts the values of an IN list, from three on, into a temporary table each time a row is checked, and the rows that an
-- ON DELETE CASCADE removes into another: a dozen for a container's start and stop, each with pages of its own. The rules stay
-- the same, said without them; what a container has is deleted before it, and a container that still has something stays.
--
-- Only the text of the schema changes, nothing that is stored: https://www.sqlite.org/lang_altertable.html, section 8, has this
-- way for such changes. RESET has SQLite read the schema again.
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql =
  replace(replace(replace(sql,
    'protocol IN (6, 17, 132)', 'protocol = 6 OR protocol = 17 OR protocol = 132'),
    'mode IN (''nat'', ''nat-unprotected'', ''routed'')', 'mode = ''nat'' OR mode = ''nat-unprotected'' OR mode = ''routed'''),
    ' ON DELETE CASCADE', '')
WHERE type = 'table' AND name <> 'awaiting';
PRAGMA writable_schema = RESET;
