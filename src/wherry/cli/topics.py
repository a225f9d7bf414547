"""`help TOPIC`: the concepts, in a terminal's width. The guides say more."""

from __future__ import annotations

TOPICS: dict[str, str] = {
    "exit-codes": """Exit codes

  run and create end with docker's codes:
    125   wherry itself failed: a wrong flag, no such image, …
    126   the container's program can't be invoked
    127   the container's program can't be found
    else  the container's own code; 128 + N when signal N ended it (137: KILL, 143: TERM)
  exec ends with the command's code, other commands with 1 after an error. `wait` prints the code and ends with 0.
""",
    "files": """Where things are

  store       /var/lib/wherry for root, ~/.local/share/wherry for others; --root, WHERRY_ROOT
  run root    /run/wherry, or $XDG_RUNTIME_DIR/wherry; --runroot, WHERRY_RUNROOT
  settings    /etc/wherry/config.toml, then ~/.config/wherry/config.toml, then WHERRY_… variables
  `wherry info` shows all of them with their origin; `wherry system check` verifies the store.
""",
    "formats": """--format and --filter

  Go templates as docker's: {{.Names}}, {{json .}}, {{range .Mounts}}…{{end}}, {{if eq .State "running"}}…{{end}},
  table {{.ID}}\\t{{.Names}}  with headers, json for one document a line.
  Functions: json join split upper lower title pad truncate println printf index len slice html js urlquery, eq ne lt le gt ge, and or not.
  --filter key=value: values of one key are alternatives, different keys must all hold.
""",
    "health": """Health checks

  --health-cmd TEXT (or an image's HEALTHCHECK) is executed in the container every --health-interval (30s). Exit code 0 is healthy;
  --health-retries (3) failures in a row are unhealthy. During --health-start-period failures don't count.
  States: starting, healthy, unhealthy; `ps`, `inspect` (.State.Health with the last five results), `events`.
  wherry wait --condition healthy C      wherry healthcheck run C      --health-on-failure restart|kill|stop
""",
    "ids": """Who is root in a container

  Root's containers have 65,536 ids of their own each; their root is nobody on the host. --userns=host, --privileged and
  --network=host give that up. An ordinary user's containers share the user's subordinate ids (/etc/subuid); root in them is the
  user himself. Without subordinate ids there is one id, and changes of owner are made to succeed.
  `inspect` shows it under .Wherry.Ids, and under .Wherry.NotInForce what this host can't enforce.
""",
    "limits": """Limits

  -m 512m   --cpus 1.5   --pids-limit 200   --cpuset-cpus 0,1   --blkio-weight …   and `update` to change them while a container runs.
  What the host's control groups can't enforce is said at the start. All containers together leave the host a reserve (host_reserve).
""",
    "networks": """Networks

  --network none | host | bridge | NAME | container:C. `network create` makes one of your own, where containers find each other by
  name. -p 8080:80 publishes a port; `port C` lists them.
""",
    "restart": """Restart policies

  --restart no | on-failure[:N] | always | unless-stopped. The container's monitor restarts it: after 100 ms, doubled each time up to
  60 s, from the beginning after a run of 10 s. `stop` and `kill` end it. `wherry system boot` starts after a reboot what should be up.
""",
    "volumes": """Data

  -v NAME:/path     a named volume, made when it is missing and filled from the image
  -v /host:/path    a folder of the host; ./folder too
  -v /path          an anonymous volume, removed with `rm -v` and by --rm
  --tmpfs /path     memory
  :ro read-only, :U give it to the container's user, :O write into a layer that is thrown away.
""",
}
