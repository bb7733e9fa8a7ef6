# The command gearman as client: has each line reversed.
host=${1%:*} port=${1##*:}
while read -r line; do
    if [ "$line" = timeout ]; then
        # Its exit code is 0 all the same.
        gearman -h "$host" -p "$port" -t 300 -f nobody "$line" 2>&1 | grep -o "timeout reached"
    else
        gearman -h "$host" -p "$port" -t 10000 -f reverse "$line" && echo
    fi
done
