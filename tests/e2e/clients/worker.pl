# Gearman::Worker.
use strict; use warnings; use Gearman::Worker; $| = 1;
my $worker = Gearman::Worker->new(job_servers => [$ARGV[0]]);
$worker->register_function("reverse", sub { scalar reverse $_[0]->arg });
$worker->register_function("empty", sub { "" });
$worker->register_function("fail", sub { undef });
$worker->register_function("status", sub { $_[0]->set_status(1, 2); "done" });
$worker->register_function("boom", sub { die "boom\n" });
$worker->register_function("slow", 300, sub { select undef, undef, undef, 1; "late" });
print "ready\n";
$worker->work while 1;
