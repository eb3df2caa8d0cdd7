# SPDX-License-Identifier: Apache-2.0
# Build checks: --check, --call, warnings after a build, error=true.
. "$(dirname "$0")/lib.sh"
base
mkdir "$T/ctx" && cd "$T/ctx"
build() { shale build --network none "$@" .; }

printf '# TAG what to take\nARG TAG=latest\n# base is all there is\nFROM busybox:$TAG AS base\nMAINTAINER x\nENV A=$PATHH\nCMD echo\n' >Dockerfile
code 1 "--check" build --check
has "a warning" "WARNING: MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label (line 5)"
has "the word is marked" "  6 | ENV A=\$PATHH
    |       ^~~~~~"
has "the image's variables are known" "(did you mean \$PATH?)"
has "they are counted" "Check complete, 3 warnings have been found in Dockerfile."
code 1 "--call=check as JSON" build --call=check,format=json
has "has the rule" '"ruleName": "JSONArgsRecommended"'
ok "--call=outline" build --call=outline
has "the arguments" "TAG        latest  what to take"
ok "--call=targets" build --call=targets
has "the stages" "base (default)    is all there is"
ok "nothing was built" shale images -q base
code 1 "--call of nothing" build --call=lint
has "is refused" "want build, check, outline or targets"

ok "a build" build -t warned
has "warns when it is done" "MaintainerDeprecated: Maintainer instruction"
ok "the argument skips" build --build-arg BUILDKIT_DOCKERFILE_CHECK=skip=all
hasnt "all" "Deprecated"
sed -i '1i# check=error=true' Dockerfile
code 1 "error=true ends the build" build -t never
has "with the rules" "check found MaintainerDeprecated, UndefinedVar, JSONArgsRecommended"
code 1 "before there is an image" shale inspect never
printf 'FROM nosuch:1\nRUN --mount=type=cache,target=/x true\nCOPY x.o /\n' >Dockerfile
echo '*.o' >.dockerignore
code 1 "the base may be missing" build --check
has "the ignore file is read" 'Attempting to Copy file "x.o" that is excluded by .dockerignore (line 3)'
printf 'FROM nosuch:1\nRUN true\n' >Dockerfile
ok "no warnings" build --call check
has "is said" "Check complete, no warnings found."
printf 'FROM busybox\n# check=skip=all\nRUM x\n' >Dockerfile
code 1 "an error is none to skip" build --check
has "and has its place" "Dockerfile:3:1: unknown instruction: RUM (did you mean RUN?)"

# Forms of the language that only a whole build shows
printf '# syntax=example/other:1\nARG SOURCE_DATE_EPOCH=1234567890\nFROM scratch\nARG SOURCE_DATE_EPOCH\nCOPY x.txt /\nLABEL e=$SOURCE_DATE_EPOCH\n' >Dockerfile
echo x >x.txt
ok "an epoch above the first FROM" build -t epoch
has "another frontend is not run" "# syntax=example/other:1: other frontends are not run"
ok "inspect" shale inspect epoch
has "dates the image" 2009-02-13T23:31:30
has "is seen in the stage" '"e": "1234567890"'
sed -i 1d Dockerfile
ok "the argument stands before it" build -t epoch --build-arg SOURCE_DATE_EPOCH=1234567891
hasnt "this one is" frontend
ok "inspect" shale inspect epoch
has "dates the image" 2009-02-13T23:31:31
ok "a directory has no time" build -t epoch --build-arg SOURCE_DATE_EPOCH=context
ok "inspect" shale inspect epoch
hasnt "so nothing is dated" 2009-02-13
has "and the argument is not set" '"e": ""'
printf 'FROM busybox\nONBUILD COPY --from=tools /t /t\nONBUILD RUN --mount=from=more,target=/m cp /m/t /t2\n' >Dockerfile
ok "triggers that name stages" build -t onbase
printf 'FROM busybox AS tools\nRUN echo tools >/t\nFROM busybox AS more\nRUN echo more >/t\nFROM onbase\nRUN cat /t /t2\n' >Dockerfile
ok "find those of the Dockerfile that uses them" build --progress plain
has "both" "tools"
has "of them" "more"
no_leaks
done_testing
