#!/bin/sh
# In the virtual machine (tools/test_vm.py): the tests as root, then as two users in sessions of their own. Last word: the exit code.
export LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1
# everything is ten times slower here, and tests that wait should know
export WHERRY_SLOW=10 WHERRY_COMMAND=/opt/tests/bin/wherry WHERRY_IN_VM=1
cd /
umask 022
echo "== $(uname -r), systemd $(systemctl --version | sed -n '1s/systemd \([0-9]*\).*/\1/p'), $(stat -fc %T /sys/fs/cgroup)"
python3 -m venv --without-pip /opt/tests
cp -r /job/site /opt/site
echo /opt/site > "$(echo /opt/tests/lib/python3*/site-packages)/site.pth"
sed '1s|.*|#!/opt/tests/bin/python|' /job/site/bin/wherry > /opt/tests/bin/wherry
chmod 755 /opt/tests/bin/wherry
# the code that the host's Python has compiled is another version's
[ -e "/opt/site/wherry/__pycache__/__init__.$(python3 -c 'import sys; print(sys.implementation.cache_tag)').pyc" ] ||
    python3 -m compileall -q /opt/site/wherry /opt/site/pytest /opt/site/_pytest /opt/site/pluggy
cp -r /job/wherry /opt/wherry
# one word for pytest a line
words=/job/words
[ -s $words ] || { words=/opt/words; grep -v '^#' /opt/wherry/tests/vm/chosen > $words; }
worst=0
in_session() { # USER COMMAND: in a scope of the user's own manager, with the groups that it was given
    su - "$1" -c "export XDG_RUNTIME_DIR=/run/user/$(id -u "$1"); cd /opt/wherry; exec systemd-run --user --scope -q -p Delegate=yes -- $2"
}
common="WHERRY_SLOW=$WHERRY_SLOW WHERRY_COMMAND=$WHERRY_COMMAND WHERRY_IN_VM=1 PYTHONDONTWRITEBYTECODE=1"
for who in root tester plain; do
    start=$(date +%s)
    echo "== as $who"
    if [ "$who" = root ]; then
        (cd /opt/wherry && WHERRY_KINDS=root /opt/tests/bin/python -m pytest -q -rf --color=no @$words)
    else
        in_session "$who" "env $common /opt/tests/bin/python -m pytest -q -rf --color=no @$words"
    fi
    code=$?
    echo "== as $who: exit $code after $(($(date +%s) - start)) s"
    [ "$code" -le "$worst" ] || worst=$code
done
sync
echo "$worst"
