<?php // pecl gearman, over libgearman.
[$host, $port] = explode(":", $argv[1]);
$worker = new GearmanWorker();
$worker->addServer($host, (int) $port);
$worker->setId("php");
$worker->addFunction("reverse", fn($job) => strrev($job->workload()));
$worker->addFunction("empty", fn($job) => "");
$worker->addFunction("fail", function ($job) { $job->sendFail(); });
$worker->addFunction("status", function ($job) { $job->sendStatus(1, 2); $job->sendData("piece "); return "done"; });
$worker->addFunction("boom", function ($job) { $job->sendException("boom"); });
$context = null;
$worker->addFunction("slow", function ($job) { usleep(1000 * 1000); return "late"; }, $context, 300);
while (true) if (!@$worker->work()) usleep(20 * 1000);
