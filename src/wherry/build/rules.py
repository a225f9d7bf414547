"""The 22 build checks: their names, their pages, what they say. `checks` finds where they hold; the texts are docker's.

Source: https://docs.docker.com/reference/build-checks/
"""

from __future__ import annotations

from wherry.model.record import Record

_PAGES = "https://docs.docker.com/go/dockerfile/rule/"


class Rule(Record):
    """`text`: a format for `%`. `experimental`: only looked for when `# check=experimental=` names it."""

    name: str
    page: str
    description: str
    text: str
    experimental: bool = False

    @property
    def url(self) -> str:
        return f"{_PAGES}{self.page}/" if self.page else ""


RULES = {
    rule.name: rule
    for rule in (
        Rule("StageNameCasing", "stage-name-casing", "Stage names should be lowercase", "Stage name '%s' should be lowercase"),
        Rule(
            "FromAsCasing",
            "from-as-casing",
            "The 'as' keyword should match the case of the 'from' keyword",
            "'%s' and '%s' keywords' casing do not match",
        ),
        Rule(
            "NoEmptyContinuation",
            "no-empty-continuation",
            "Empty continuation lines will become errors in a future release",
            "Empty continuation line",
        ),
        Rule(
            "ConsistentInstructionCasing",
            "consistent-instruction-casing",
            "All commands within the Dockerfile should use the same casing (either upper or lower)",
            "Command '%s' should match the case of the command majority (%s)",
        ),
        Rule(
            "DuplicateStageName",
            "duplicate-stage-name",
            "Stage names should be unique",
            'Duplicate stage name "%s", stage names should be unique',
        ),
        Rule(
            "ReservedStageName",
            "reserved-stage-name",
            "Reserved words should not be used as stage names",
            'Stage name should not use the same name as reserved stage "%s"',
        ),
        Rule(
            "JSONArgsRecommended",
            "json-args-recommended",
            "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals",
            "JSON arguments recommended for %s to prevent unintended behavior related to OS signals",
        ),
        Rule(
            "MaintainerDeprecated",
            "maintainer-deprecated",
            "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
            "Maintainer instruction is deprecated in favor of using label",
        ),
        Rule(
            "UndefinedArgInFrom",
            "undefined-arg-in-from",
            "FROM command must use declared ARGs",
            "FROM argument '%s' is not declared%s",
        ),
        Rule(
            "WorkdirRelativePath",
            "workdir-relative-path",
            "Relative workdir without an absolute workdir declared within the build can have unexpected results if the base image changes",
            'Relative workdir "%s" can have unexpected results if the base image changes',
        ),
        Rule("UndefinedVar", "undefined-var", "Variables should be defined before their use", "Usage of undefined variable '$%s'%s"),
        Rule(
            "MultipleInstructionsDisallowed",
            "multiple-instructions-disallowed",
            "Multiple instructions of the same type should not be used in the same stage",
            "Multiple %s instructions should not be used in the same stage because only the last one will be used",
        ),
        Rule(
            "LegacyKeyValueFormat",
            "legacy-key-value-format",
            "Legacy key/value format with whitespace separator should not be used",
            '"%s key=value" should be used instead of legacy "%s key value" format',
        ),
        Rule(
            "InvalidBaseImagePlatform",
            "",
            "Base image platform does not match expected target platform",
            'Base image %s was pulled with platform "%s", expected "%s" for current build',
        ),
        Rule(
            "RedundantTargetPlatform",
            "redundant-target-platform",
            "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
            "Setting platform to predefined %s in FROM is redundant as this is the default behavior",
        ),
        Rule(
            "SecretsUsedInArgOrEnv",
            "secrets-used-in-arg-or-env",
            "Sensitive data should not be used in the ARG or ENV commands",
            'Do not use ARG or ENV instructions for sensitive data (%s "%s")',
        ),
        Rule(
            "InvalidDefaultArgInFrom",
            "invalid-default-arg-in-from",
            "Default value for global ARG results in an empty or invalid base image name",
            "Default value for ARG %s results in empty or invalid base image name",
        ),
        Rule(
            "FromPlatformFlagConstDisallowed",
            "from-platform-flag-const-disallowed",
            "FROM --platform flag should not use a constant value",
            'FROM --platform flag should not use constant value "%s"',
        ),
        Rule(
            "CopyIgnoredFile",
            "copy-ignored-file",
            "Attempting to Copy file that is excluded by .dockerignore",
            'Attempting to %s file "%s" that is excluded by .dockerignore',
        ),
        Rule(
            "InvalidDefinitionDescription",
            "invalid-definition-description",
            "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. If this is not intended to be "
            "a description comment, add an empty line or comment between the instruction and the comment.",
            "Comment for %s should follow the format: `# %s <description>`",
            True,
        ),
        Rule(
            "ExposeProtoCasing",
            "expose-proto-casing",
            "Protocol in EXPOSE instruction should be lowercase",
            "Defined protocol '%s' in EXPOSE instruction should be lowercase",
        ),
        Rule(
            "ExposeInvalidFormat",
            "expose-invalid-format",
            "IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error in a future release",
            "EXPOSE instruction should not define an IP address or host-port mapping, found '%s'",
        ),
    )
}
