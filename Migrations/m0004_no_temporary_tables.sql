-- SQLite puts the values of an IN list, from three on, into a temporary table each time a row is checked, and the rows that an
-- ON DELETE CASCADE removes into another: a dozen for a container's start and stop, each with pages of its own. The rules stay
-- the same, said without them; what a container has is deleted before it, and a container that still has something stays.
--
-- Only the text of the schema changes, nothing that is stored: https://www.sqlite.org/lang_altertable.html, section 8, has this
-- way for such changes. RESET has SQLite read the schema again.
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql =
  replace(replace(replace(replace(sql,
    'protocol IN (6, 17, 132)', 'protocol = 6 OR protocol = 17 OR protocol = 132'),
    'mode IN (''nat'', ''nat-unprotected'', ''routed'')', 'mode = ''nat'' OR mode = ''nat-unprotected'' OR mode = ''routed'''),
    'driver IN (''bridge'', ''macvlan'', ''ipvlan'', ''host'', ''none'')',
    'driver = ''bridge'' OR driver = ''macvlan'' OR driver = ''ipvlan'' OR driver = ''host'' OR driver = ''none'''),
    ' ON DELETE CASCADE', '')
WHERE type = 'table' AND name <> 'awaiting';
PRAGMA writable_schema = RESET;

-- The same as before, with a search for each of the two addresses.
DROP TRIGGER binding_one_address;
CREATE TRIGGER binding_one_address BEFORE INSERT ON binding
WHEN NEW.host_first IS NOT NULL AND NEW.host_address NOT IN ('0.0.0.0', '::') BEGIN
  SELECT RAISE(ABORT, 'host port already allocated') FROM reach_class AS class CROSS JOIN binding AS other
  WHERE other.family = NEW.family AND other.protocol = NEW.protocol AND other.reach = class.reach
    AND other.host_address = NEW.host_address
    AND other.host_first BETWEEN NEW.host_first - class.reach + 1 AND NEW.host_last
    AND other.host_last >= NEW.host_first;
  SELECT RAISE(ABORT, 'host port already allocated') FROM reach_class AS class CROSS JOIN binding AS other
  WHERE other.family = NEW.family AND other.protocol = NEW.protocol AND other.reach = class.reach
    AND other.host_address = iif(NEW.family = 4, '0.0.0.0', '::')
    AND other.host_first BETWEEN NEW.host_first - class.reach + 1 AND NEW.host_last
    AND other.host_last >= NEW.host_first;
END;
