"""Tables of the store's database and their migrations.

`PRAGMA user_version` carries the schema's number; a newer one than ours is refused, an older one is migrated forward.
JSON columns hold text that `model.jsontext` wrote; ids and digests are text; times are nanoseconds since the epoch.
"""

from __future__ import annotations

VERSION = 6

_V1 = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;

-- A tree layers/<id>, known by the digest of its uncompressed tar. A tree depends on its own diff only, not on what lies
-- below it, so images share by diff id. boot_id: acknowledged before it was on the platter in that boot, NULL: synced.
CREATE TABLE layers (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  diff_id TEXT UNIQUE,
  size_bytes INTEGER NOT NULL,
  entries INTEGER NOT NULL DEFAULT 0,
  blob_digest TEXT,
  blob_media_type TEXT,
  blob_size_bytes INTEGER,
  boot_id TEXT,
  created_ns INTEGER NOT NULL
);

-- id: "sha256:…" of the config. config: the JSON object "config" of it, for the hot path, the whole is blobs/sha256/….
CREATE TABLE images (
  id TEXT PRIMARY KEY,
  manifest_digest TEXT,
  os TEXT NOT NULL,
  architecture TEXT NOT NULL,
  variant TEXT NOT NULL DEFAULT '',
  created_ns INTEGER NOT NULL,
  size_bytes INTEGER NOT NULL,
  config TEXT NOT NULL,
  parent_id TEXT,
  stored_ns INTEGER NOT NULL
) WITHOUT ROWID;

-- position 0 is the lowest layer
CREATE TABLE image_layers (
  image_id TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,
  position INTEGER NOT NULL,
  layer_id INTEGER NOT NULL REFERENCES layers(id),
  PRIMARY KEY (image_id, position)
) WITHOUT ROWID;
CREATE INDEX image_layers_by_layer ON image_layers(layer_id);

-- name: canonical, "docker.io/library/alpine:latest" or "…@sha256:…"
CREATE TABLE tags (
  name TEXT PRIMARY KEY,
  image_id TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX tags_by_image ON tags(image_id);

-- layers: numbers of the lower trees, topmost first, comma-separated, they are in use as long as the row stands.
-- wanted: created | running | stopped. record: what `inspect` shows that does not change, docker's Config, HostConfig, mounts.
CREATE TABLE containers (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  image_id TEXT NOT NULL,
  image_name TEXT NOT NULL,
  layers TEXT NOT NULL,
  command TEXT NOT NULL,
  labels TEXT NOT NULL,
  created_ns INTEGER NOT NULL,
  auto_remove INTEGER NOT NULL,
  wanted TEXT NOT NULL,
  record TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX containers_auto_remove ON containers(auto_remove) WHERE auto_remove;
CREATE INDEX containers_by_image ON containers(image_id);

-- ranges of 65,536 host ids that root's containers hold
CREATE TABLE id_ranges (
  start INTEGER PRIMARY KEY,
  container_id TEXT NOT NULL UNIQUE REFERENCES containers(id) ON DELETE CASCADE
);
"""

# tar_bytes: the size of the tar that the diff id is of, NULL where nobody measured it.
# manifest_lists: `manifest create`, name is canonical, record is JSON.
_V2 = """
ALTER TABLE layers ADD COLUMN tar_bytes INTEGER;

CREATE TABLE manifest_lists (
  name TEXT PRIMARY KEY,
  record TEXT NOT NULL
) WITHOUT ROWID;
"""

_V3 = """
-- A step of a build: its key says all that went into it.
CREATE TABLE build_steps (
  key TEXT PRIMARY KEY,
  layer_id INTEGER REFERENCES layers(id) ON DELETE CASCADE,
  text TEXT NOT NULL,
  created_ns INTEGER NOT NULL,
  used_ns INTEGER NOT NULL,
  uses INTEGER NOT NULL DEFAULT 1
) WITHOUT ROWID;
CREATE INDEX build_steps_by_layer ON build_steps(layer_id);

-- What a COPY takes out of a stage: the digest of it, so that a stage needn't be made to know. what: patterns and exceptions.
CREATE TABLE build_digests (
  stage_key TEXT NOT NULL,
  what TEXT NOT NULL,
  digest TEXT NOT NULL,
  used_ns INTEGER NOT NULL,
  PRIMARY KEY (stage_key, what)
) WITHOUT ROWID;

-- Cache mounts of RUN: folders <root>/mounts/<number>. name: id and what it starts from.
CREATE TABLE build_mounts (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL,
  created_ns INTEGER NOT NULL,
  used_ns INTEGER NOT NULL
);
CREATE INDEX build_mounts_by_name ON build_mounts(name);
"""

_V4 = """
-- options and labels are JSON. ready: 0 until the folder volumes/<name> has its first content. doomed: to be removed by whoever comes
-- next, since its container went with its volumes. state: JSON of the driver's own.
CREATE TABLE volumes (
  name TEXT PRIMARY KEY,
  driver TEXT NOT NULL,
  options TEXT NOT NULL,
  labels TEXT NOT NULL,
  anonymous INTEGER NOT NULL,
  ready INTEGER NOT NULL,
  doomed INTEGER NOT NULL DEFAULT 0,
  created_ns INTEGER NOT NULL,
  state TEXT NOT NULL DEFAULT '{}'
) WITHOUT ROWID;
CREATE INDEX volumes_doomed ON volumes(doomed) WHERE doomed;

-- Who refers to a volume. owned: an anonymous one that was made for this container.
CREATE TABLE volume_uses (
  container_id TEXT NOT NULL REFERENCES containers(id) ON DELETE CASCADE,
  volume TEXT NOT NULL REFERENCES volumes(name),
  owned INTEGER NOT NULL,
  PRIMARY KEY (container_id, volume)
) WITHOUT ROWID;
CREATE INDEX volume_uses_by_volume ON volume_uses(volume);

-- What a volume had at some time: a folder snapshots/<number>.
CREATE TABLE volume_snapshots (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  volume TEXT NOT NULL REFERENCES volumes(name) ON DELETE CASCADE,
  name TEXT NOT NULL,
  created_ns INTEGER NOT NULL,
  UNIQUE (volume, name)
);

-- The data of a secret is the file secrets/<id>, 0600.
CREATE TABLE secrets (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  labels TEXT NOT NULL,
  created_ns INTEGER NOT NULL,
  updated_ns INTEGER NOT NULL
) WITHOUT ROWID;
"""

_V5 = """
-- link: the bridge's (macvlan, ipvlan: the parent's) name in the kernel. record: docker's keys and our own, JSON.
CREATE TABLE networks (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  driver TEXT NOT NULL,
  link TEXT NOT NULL,
  created_ns INTEGER NOT NULL,
  record TEXT NOT NULL
) WITHOUT ROWID;

-- A container's attachment to a network. Addresses are NULL and owner is empty while it doesn't run. owner: pid and start time
-- of the command that started it. config: aliases, wanted addresses, JSON.
CREATE TABLE endpoints (
  container_id TEXT NOT NULL REFERENCES containers(id) ON DELETE CASCADE,
  network_id TEXT NOT NULL,
  position INTEGER NOT NULL,
  id TEXT NOT NULL,
  interface TEXT NOT NULL,
  mac TEXT NOT NULL,
  ipv4 TEXT,
  ipv6 TEXT,
  owner TEXT NOT NULL DEFAULT '',
  config TEXT NOT NULL,
  PRIMARY KEY (container_id, network_id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX endpoints_v4 ON endpoints(network_id, ipv4) WHERE ipv4 IS NOT NULL;
CREATE UNIQUE INDEX endpoints_v6 ON endpoints(network_id, ipv6) WHERE ipv6 IS NOT NULL;

-- Published ports of running containers.
CREATE TABLE ports (
  container_id TEXT NOT NULL REFERENCES containers(id) ON DELETE CASCADE,
  protocol TEXT NOT NULL,
  port INTEGER NOT NULL,
  host_ip TEXT NOT NULL,
  host_port INTEGER NOT NULL,
  PRIMARY KEY (host_ip, host_port, protocol)
) WITHOUT ROWID;
CREATE INDEX ports_by_container ON ports(container_id);
"""

_V6 = """
-- The key first: SQLite's integrity check reads a table without row ids wrongly where it is not.
DROP TABLE ports;
CREATE TABLE ports (
  host_ip TEXT NOT NULL,
  host_port INTEGER NOT NULL,
  protocol TEXT NOT NULL,
  container_id TEXT NOT NULL REFERENCES containers(id) ON DELETE CASCADE,
  port INTEGER NOT NULL,
  PRIMARY KEY (host_ip, host_port, protocol)
) WITHOUT ROWID;
CREATE INDEX ports_by_container ON ports(container_id);
"""

MIGRATIONS: dict[int, str] = {1: _V1, 2: _V2, 3: _V3, 4: _V4, 5: _V5, 6: _V6}
