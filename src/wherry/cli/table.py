"""The one table of commands: help, completion and the reference page come out of it. Modules are loaded when a command is used.

name path → (module in cli/commands, summary). Several paths may name one module: docker's both spellings.
"""

from __future__ import annotations

COMMANDS: dict[str, tuple[str, str]] = {
    "attach": ("attach", "Attach local standard input, output, and error streams to a running container"),
    "build": ("build", "Build an image from a Dockerfile"),
    "create": ("create", "Create a new container"),
    "exec": ("exec", "Execute a command in a running container"),
    "history": ("history", "Show the history of an image"),
    "images": ("images", "List images"),
    "import": ("import_", "Import the contents from a tarball to create a filesystem image"),
    "info": ("info", "Display system-wide information"),
    "inspect": ("inspect", "Return low-level information on containers and images"),
    "kill": ("kill", "Kill one or more running containers"),
    "load": ("load", "Load an image from a tar archive or STDIN"),
    "login": ("login", "Authenticate to a registry"),
    "logout": ("logout", "Log out from a registry"),
    "logs": ("logs", "Fetch the logs of a container"),
    "pause": ("pause", "Pause all processes within one or more containers"),
    "ps": ("ps", "List containers"),
    "pull": ("pull", "Download an image from a registry"),
    "push": ("push", "Upload an image to a registry"),
    "rename": ("rename", "Rename a container"),
    "restart": ("restart", "Restart one or more containers"),
    "rm": ("rm", "Remove one or more containers"),
    "rmi": ("rmi", "Remove one or more images"),
    "run": ("run", "Create and run a new container from an image"),
    "save": ("save", "Save one or more images to a tar archive (streamed to STDOUT by default)"),
    "search": ("search", "Search a registry for images"),
    "start": ("start", "Start one or more stopped containers"),
    "stats": ("stats", "Display a live stream of container(s) resource usage statistics"),
    "stop": ("stop", "Stop one or more running containers"),
    "tag": ("tag", "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE"),
    "top": ("top", "Display the running processes of a container"),
    "unpause": ("unpause", "Unpause all processes within one or more containers"),
    "untag": ("untag", "Remove names of an image"),
    "update": ("update", "Update configuration of one or more containers"),
    "version": ("version", "Show the wherry version information"),
    "wait": ("wait", "Block until one or more containers stop, then print their exit codes"),
    "builder build": ("build", "Build an image from a Dockerfile"),
    "builder du": ("builder_du", "Show what the build cache holds"),
    "builder prune": ("builder_prune", "Remove build cache"),
    "buildx build": ("build", "Build an image from a Dockerfile"),
    "buildx du": ("builder_du", "Show what the build cache holds"),
    "buildx inspect": ("buildx_inspect", "Show the one builder that there is"),
    "buildx ls": ("buildx_ls", "List builders: there is one"),
    "buildx prune": ("builder_prune", "Remove build cache"),
    "buildx version": ("buildx_version", "Show the version of the builder"),
    "container attach": ("attach", "Attach local standard input, output, and error streams to a running container"),
    "container cleanup": ("container_cleanup", "Finish the end of containers that are to be removed"),
    "container create": ("create", "Create a new container"),
    "container exec": ("exec", "Execute a command in a running container"),
    "container exists": ("container_exists", "Exit with 0 if a container exists, else with 1"),
    "container inspect": ("container_inspect", "Display detailed information on one or more containers"),
    "container kill": ("kill", "Kill one or more running containers"),
    "container logs": ("logs", "Fetch the logs of a container"),
    "container ls": ("ps", "List containers"),
    "container pause": ("pause", "Pause all processes within one or more containers"),
    "container prune": ("container_prune", "Remove all stopped containers"),
    "container rename": ("rename", "Rename a container"),
    "container restart": ("restart", "Restart one or more containers"),
    "container rm": ("rm", "Remove one or more containers"),
    "container run": ("run", "Create and run a new container from an image"),
    "container start": ("start", "Start one or more stopped containers"),
    "container stats": ("stats", "Display a live stream of container(s) resource usage statistics"),
    "container stop": ("stop", "Stop one or more running containers"),
    "container top": ("top", "Display the running processes of a container"),
    "container unpause": ("unpause", "Unpause all processes within one or more containers"),
    "container update": ("update", "Update configuration of one or more containers"),
    "container wait": ("wait", "Block until one or more containers stop, then print their exit codes"),
    "image build": ("build", "Build an image from a Dockerfile"),
    "image exists": ("image_exists", "Exit with 0 if an image exists, else with 1"),
    "image history": ("history", "Show the history of an image"),
    "image import": ("import_", "Import the contents from a tarball to create a filesystem image"),
    "image inspect": ("image_inspect", "Display detailed information on one or more images"),
    "image load": ("load", "Load an image from a tar archive or STDIN"),
    "image ls": ("images", "List images"),
    "image prune": ("image_prune", "Remove unused images"),
    "image pull": ("pull", "Download an image from a registry"),
    "image push": ("push", "Upload an image to a registry"),
    "image rm": ("rmi", "Remove one or more images"),
    "image save": ("save", "Save one or more images to a tar archive (streamed to STDOUT by default)"),
    "image tag": ("tag", "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE"),
    "image untag": ("untag", "Remove names of an image"),
    "manifest add": ("manifest_add", "Add an image to a manifest list"),
    "manifest annotate": ("manifest_annotate", "Add additional information to a local image manifest"),
    "manifest create": ("manifest_create", "Create a local manifest list for annotating and pushing to a registry"),
    "manifest exists": ("manifest_exists", "Exit with 0 if a manifest list exists, else with 1"),
    "manifest inspect": ("manifest_inspect", "Display an image manifest, or manifest list"),
    "manifest push": ("manifest_push", "Push a manifest list to a repository"),
    "manifest remove": ("manifest_remove", "Remove an image from a manifest list"),
    "manifest rm": ("manifest_rm", "Delete one or more manifest lists from local storage"),
    "system check": ("system_check", "Verify every invariant of the store"),
    "system df": ("system_df", "Show disk usage"),
    "system info": ("info", "Display system-wide information"),
    "system prune": ("system_prune", "Remove unused data"),
}

# Other words for a command.
ALIASES = {
    "container list": "container ls",
    "container ps": "container ls",
    "container remove": "container rm",
    "image list": "image ls",
    "image remove": "image rm",
}

GROUPS = {
    "builder": "Manage builds",
    "buildx": "Manage builds, as docker's plug-in spells it",
    "container": "Manage containers",
    "image": "Manage images",
    "manifest": "Manage manifest lists",
    "system": "Manage wherry",
}

# docker's and podman's commands that are not there yet, and what to do meanwhile.
NOT_YET: dict[str, str] = {
    "commit": "",
    "compose": "",
    "context": "",
    "cp": "use `exec` with tar: wherry exec C tar -C /path -c . | tar -x",
    "diff": "",
    "events": "",
    "export": "use `exec` with tar: wherry exec C tar -C / -c --one-file-system .",
    "healthcheck": "",
    "kube": "",
    "network": "use --network none, host or container:NAME",
    "plugin": "",
    "pod": "",
    "port": "",
    "secret": "",
    "swarm": "",
    "volume": "use a bind mount",
}


def find(words: list[str]) -> tuple[str, int]:
    """(path of the command, how many words it took), or ("", 0)."""
    for count in (2, 1):
        path = " ".join(words[:count])
        path = ALIASES.get(path, path)
        if len(words) >= count and path in COMMANDS:
            return path, count
    return "", 0
