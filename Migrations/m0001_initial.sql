-- What the agent was told and what it resolved from it. Addresses are text in canonical form (RFC 5952), ports are
-- inclusive ranges, protocols are IPPROTO numbers (tcp 6, udp 17, sctp 132), lists and maps are JSON.
-- Readable with sqlite3(1); written by the agent alone.

-- Counts committed changes. One row.
CREATE TABLE revision (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  value INTEGER NOT NULL
) STRICT;
INSERT INTO revision VALUES (1, 0);

CREATE TRIGGER revision_only_grows BEFORE UPDATE ON revision WHEN NEW.value <= OLD.value BEGIN
  SELECT RAISE(ABORT, 'the revision never goes back');
END;
CREATE TRIGGER revision_stays BEFORE DELETE ON revision BEGIN
  SELECT RAISE(ABORT, 'the revision never goes back');
END;

CREATE TABLE setting (
  name TEXT PRIMARY KEY CHECK (name <> ''),
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Kernel settings the agent changed, with the value it found.
CREATE TABLE sysctl (
  name TEXT PRIMARY KEY CHECK (name <> ''),
  previous TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE network (
  id TEXT PRIMARY KEY CHECK (id <> ''),
  source TEXT NOT NULL CHECK (source <> ''),
  name TEXT NOT NULL UNIQUE CHECK (name <> ''),
  driver TEXT NOT NULL CHECK (driver IN ('bridge', 'macvlan', 'ipvlan', 'host', 'none')),
  -- IFNAMSIZ is 16 with the final NUL.
  bridge TEXT UNIQUE CHECK (length(CAST(bridge AS BLOB)) BETWEEN 1 AND 15),
  internal INTEGER NOT NULL CHECK (internal IN (0, 1)),
  subnets TEXT NOT NULL CHECK (json_valid(subnets) AND json_type(subnets) = 'array'),
  options TEXT NOT NULL CHECK (json_valid(options) AND json_type(options) = 'object'),
  CHECK ((driver = 'bridge') = (bridge IS NOT NULL))
) STRICT, WITHOUT ROWID;

-- AUTOINCREMENT: a row number is never given twice, so what carries one in the kernel never points to another container.
CREATE TABLE container (
  row INTEGER PRIMARY KEY AUTOINCREMENT,
  source TEXT NOT NULL CHECK (source <> ''),
  id TEXT NOT NULL CHECK (id <> ''),
  name TEXT NOT NULL CHECK (name <> ''),
  generation INTEGER,
  publish_all INTEGER NOT NULL CHECK (publish_all IN (0, 1)),
  -- In this order it also serves the search by id alone and by the start of an id.
  UNIQUE (id, source)
) STRICT;
CREATE INDEX container_by_name ON container (name);

CREATE TABLE endpoint (
  container INTEGER NOT NULL REFERENCES container (row) ON DELETE CASCADE,
  position INTEGER NOT NULL CHECK (position >= 0),
  network TEXT NOT NULL REFERENCES network (id) ON DELETE RESTRICT ON UPDATE RESTRICT,
  ipv4 TEXT CHECK (ipv4 <> '' AND instr(ipv4, ':') = 0),
  ipv6 TEXT CHECK (instr(ipv6, ':') > 0),
  gateway_priority INTEGER NOT NULL,
  PRIMARY KEY (container, position),
  UNIQUE (network, container)
) STRICT, WITHOUT ROWID;

-- As asked for: no host port = an ephemeral one, one container port = any one port of the host range.
CREATE TABLE publish (
  container INTEGER NOT NULL REFERENCES container (row) ON DELETE CASCADE,
  position INTEGER NOT NULL CHECK (position >= 0),
  host_address TEXT CHECK (host_address <> ''),
  host_first INTEGER CHECK (host_first BETWEEN 1 AND host_last),
  host_last INTEGER CHECK (host_last <= 65535),
  container_first INTEGER NOT NULL CHECK (container_first BETWEEN 1 AND container_last),
  container_last INTEGER NOT NULL CHECK (container_last <= 65535),
  protocol INTEGER NOT NULL CHECK (protocol IN (6, 17, 132)),
  allow_from TEXT NOT NULL CHECK (json_valid(allow_from) AND json_type(allow_from) = 'array'),
  PRIMARY KEY (container, position),
  CHECK ((host_first IS NULL) = (host_last IS NULL)),
  CHECK (container_first = container_last OR host_last - host_first = container_last - container_first)
) STRICT, WITHOUT ROWID;

CREATE TABLE expose (
  container INTEGER NOT NULL REFERENCES container (row) ON DELETE CASCADE,
  position INTEGER NOT NULL CHECK (position >= 0),
  first INTEGER NOT NULL CHECK (first BETWEEN 1 AND last),
  last INTEGER NOT NULL CHECK (last <= 65535),
  protocol INTEGER NOT NULL CHECK (protocol IN (6, 17, 132)),
  PRIMARY KEY (container, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE warning (
  container INTEGER NOT NULL REFERENCES container (row) ON DELETE CASCADE,
  position INTEGER NOT NULL CHECK (position >= 0),
  code TEXT NOT NULL CHECK (code <> ''),
  message TEXT NOT NULL,
  PRIMARY KEY (container, position)
) STRICT, WITHOUT ROWID;

-- What the kernel is to honour. `reach` is the upper bound of the number of ports, in five classes: a range of class r
-- that overlaps a port p starts between p - r + 1 and p, which is what the index searches below rest on.
CREATE TABLE binding (
  container INTEGER NOT NULL REFERENCES container (row) ON DELETE CASCADE,
  position INTEGER NOT NULL CHECK (position >= 0),
  network TEXT NOT NULL,
  mode TEXT NOT NULL CHECK (mode IN ('nat', 'nat-unprotected', 'routed')),
  family INTEGER NOT NULL CHECK (family IN (4, 6)),
  protocol INTEGER NOT NULL CHECK (protocol IN (6, 17, 132)),
  host_address TEXT NOT NULL CHECK (host_address <> '' AND (family = 6) = (instr(host_address, ':') > 0)),
  host_first INTEGER CHECK (host_first BETWEEN 1 AND host_last),
  host_last INTEGER CHECK (host_last <= 65535),
  container_address TEXT NOT NULL
    CHECK (container_address <> '' AND (family = 6) = (instr(container_address, ':') > 0)),
  container_first INTEGER NOT NULL CHECK (container_first BETWEEN 1 AND container_last),
  container_last INTEGER NOT NULL CHECK (container_last <= 65535),
  request INTEGER,
  allow_from TEXT NOT NULL CHECK (json_valid(allow_from) AND json_type(allow_from) = 'array'),
  reach INTEGER NOT NULL AS (
    CASE
      WHEN container_last = container_first THEN 1
      WHEN container_last - container_first < 16 THEN 16
      WHEN container_last - container_first < 256 THEN 256
      WHEN container_last - container_first < 4096 THEN 4096
      ELSE 65536
    END
  ) VIRTUAL,
  PRIMARY KEY (container, position),
  FOREIGN KEY (container, network) REFERENCES endpoint (container, network),
  FOREIGN KEY (container, request) REFERENCES publish (container, position),
  CHECK ((mode = 'routed') = (host_first IS NULL)),
  CHECK ((host_first IS NULL) = (host_last IS NULL)),
  CHECK (mode <> 'routed' OR host_address IN ('0.0.0.0', '::')),
  CHECK (host_last - host_first = container_last - container_first)
) STRICT, WITHOUT ROWID;
CREATE INDEX binding_by_port ON binding (family, protocol, reach, host_first, host_last) WHERE host_first IS NOT NULL;
CREATE INDEX binding_by_address ON binding (family, protocol, host_address, reach, host_first, host_last)
  WHERE host_first IS NOT NULL;
CREATE INDEX binding_by_container_port ON binding (container_address, protocol, reach, container_first, container_last);

CREATE VIEW reach_class (reach) AS VALUES (1), (16), (256), (4096), (65536);

-- One owner of a host port: 0.0.0.0 and :: meet every address of their family, any other address itself and those.
CREATE TRIGGER binding_any_address BEFORE INSERT ON binding
WHEN NEW.host_first IS NOT NULL AND NEW.host_address IN ('0.0.0.0', '::') BEGIN
  SELECT RAISE(ABORT, 'host port already allocated') FROM reach_class AS class CROSS JOIN binding AS other
  WHERE other.family = NEW.family AND other.protocol = NEW.protocol AND other.reach = class.reach
    AND other.host_first BETWEEN NEW.host_first - class.reach + 1 AND NEW.host_last
    AND other.host_last >= NEW.host_first;
END;
CREATE TRIGGER binding_one_address BEFORE INSERT ON binding
WHEN NEW.host_first IS NOT NULL AND NEW.host_address NOT IN ('0.0.0.0', '::') BEGIN
  SELECT RAISE(ABORT, 'host port already allocated') FROM reach_class AS class CROSS JOIN binding AS other
  WHERE other.family = NEW.family AND other.protocol = NEW.protocol AND other.reach = class.reach
    AND other.host_address IN (NEW.host_address, iif(NEW.family = 4, '0.0.0.0', '::'))
    AND other.host_first BETWEEN NEW.host_first - class.reach + 1 AND NEW.host_last
    AND other.host_last >= NEW.host_first;
END;
-- An update would pass by the two triggers above.
CREATE TRIGGER binding_is_replaced BEFORE UPDATE ON binding BEGIN
  SELECT RAISE(ABORT, 'a binding is replaced, never updated');
END;

-- Tracked flows that a change has made stale and that are still to be ended. Recorded with the change, so that a crash
-- between the two cannot leave a client talking to a container that is gone.
CREATE TABLE stale_flow (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  family INTEGER NOT NULL CHECK (family IN (4, 6)),
  protocol INTEGER NOT NULL CHECK (protocol IN (6, 17, 132)),
  host_address TEXT NOT NULL CHECK (host_address <> '' AND (family = 6) = (instr(host_address, ':') > 0)),
  host_first INTEGER NOT NULL CHECK (host_first BETWEEN 1 AND host_last),
  host_last INTEGER NOT NULL CHECK (host_last <= 65535),
  container_address TEXT NOT NULL
    CHECK (container_address <> '' AND (family = 6) = (instr(container_address, ':') > 0)),
  container_first INTEGER NOT NULL CHECK (container_first >= 1 AND container_first + host_last - host_first <= 65535),
  -- 1: flows to this container; 0: flows to anything else, which came before this container.
  removed INTEGER NOT NULL CHECK (removed IN (0, 1))
) STRICT;
