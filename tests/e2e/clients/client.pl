# Gearman::Client: every kind of submission; prints what came of it.
use strict; use warnings; use Gearman::Client; $| = 1;
my $client = Gearman::Client->new(job_servers => [$ARGV[0]], exceptions => 1);
print "reverse ", ${ $client->do_task("reverse", \"abc") }, "\n";
print "empty [", ${ $client->do_task("empty", \"") }, "]\n";
print "high ", ${ $client->do_task("reverse", \"hig", { priority => "high" }) }, "\n";
my $set = $client->new_task_set;
my @seen;
$set->add_task("chatty", \"", {
    uniq => "u1",
    on_status => sub { push @seen, "status $_[0]/$_[1]" },
    on_complete => sub { push @seen, "complete ${$_[0]}" },
});
$set->add_task("fail", \"", { on_fail => sub { push @seen, "failed" } });
$set->add_task("boom", \"", { on_exception => sub { push @seen, "exception" }, on_fail => sub { push @seen, "boomed" } });
$set->wait(timeout => 10);
print "$_\n" for sort @seen;
my $handle = $client->dispatch_background("nobody", \"x", { uniq => "bg" });
my $status = $client->get_status($handle);
print "background known ", ($status->known ? 1 : 0), " running ", ($status->running ? 1 : 0), "\n";
