# Gearman::Client: has each line reversed, and tries again while the server is away.
use strict; use warnings; use Gearman::Client; $| = 1;
my $client = Gearman::Client->new(job_servers => [$ARGV[0]]);
while (my $line = <STDIN>) {
    chomp $line;
    if ($line eq "timeout") {
        my $failed;
        $client->do_task("nobody", \$line, { timeout => 0.3, on_fail => sub { $failed = $_[0] } });
        print "$failed\n";
        next;
    }
    for (1 .. 100) {
        my $value = eval { $client->do_task("reverse", \$line) };
        if ($value) { print "$$value\n"; last }
        select undef, undef, undef, 0.1;
    }
}
