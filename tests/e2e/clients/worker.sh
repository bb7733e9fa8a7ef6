# The command gearman as worker.
exec gearman -w -h "${1%:*}" -p "${1##*:}" -f reverse -f empty -- rev
