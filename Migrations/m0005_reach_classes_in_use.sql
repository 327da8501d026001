-- Each new binding searches every class, and most hosts publish single ports alone: `reach_class` has the classes of the
-- bindings there have been, no others.
DELETE FROM reach_class WHERE reach NOT IN (SELECT reach FROM binding WHERE host_first IS NOT NULL);
CREATE TRIGGER binding_reach_class BEFORE INSERT ON binding
WHEN NEW.host_first IS NOT NULL AND NOT EXISTS (SELECT 1 FROM reach_class WHERE reach = NEW.reach) BEGIN
  INSERT INTO reach_class VALUES (NEW.reach);
END;
