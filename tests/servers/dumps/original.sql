-- A table as the original Gearbox made it, with rows in every status and of every kind that it left behind.

SET NAMES utf8mb4;
SET foreign_key_checks = 0;

CREATE TABLE `gearbox_jobs` (
  `id` int(10) unsigned NOT NULL AUTO_INCREMENT,
  `method_name` varchar(255) COLLATE utf8mb4_bin NOT NULL,
  `arguments` text COLLATE utf8mb4_bin,
  `priority` enum('high','normal','low') COLLATE utf8mb4_bin NOT NULL DEFAULT 'normal',
  `created` datetime NOT NULL DEFAULT CURRENT_TIMESTAMP,
  `updated` datetime NOT NULL DEFAULT CURRENT_TIMESTAMP,
  `status` enum('ready','waiting','running','almost-done','errored','complete','invalid','missing','duplicate') COLLATE utf8mb4_bin NOT NULL DEFAULT 'ready',
  `after_date` datetime DEFAULT NULL,
  `after_id` int(10) unsigned DEFAULT NULL,
  `before_id` int(10) unsigned DEFAULT NULL,
  `completed` datetime DEFAULT NULL,
  `retries` int(10) unsigned NOT NULL DEFAULT 0,
  `max_retries` int(10) unsigned NOT NULL DEFAULT 0,
  `progress_status` double DEFAULT NULL,
  `progress_updated` datetime DEFAULT NULL,
  `result_data` text COLLATE utf8mb4_bin,
  `dedupe` varchar(255) COLLATE utf8mb4_bin NOT NULL,
  `runner_instance` char(36) COLLATE utf8mb4_bin DEFAULT NULL,
  `retry_delay` int(10) unsigned NOT NULL DEFAULT 1,
  `see_other` int(10) unsigned DEFAULT NULL,
  PRIMARY KEY (`id`),
  KEY `status` (`status`),
  KEY `created` (`created`),
  KEY `dedupe` (`dedupe`),
  KEY `after_id` (`after_id`),
  KEY `before_id` (`before_id`),
  CONSTRAINT `gearbox_jobs_ibfk_1` FOREIGN KEY (`after_id`) REFERENCES `gearbox_jobs` (`id`) ON DELETE SET NULL,
  CONSTRAINT `gearbox_jobs_ibfk_2` FOREIGN KEY (`before_id`) REFERENCES `gearbox_jobs` (`id`) ON DELETE SET NULL
) ENGINE=InnoDB AUTO_INCREMENT=140 DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

INSERT INTO `gearbox_jobs` (id, method_name, arguments, priority, created, updated, status, after_date, after_id, before_id, completed, retries, max_retries, progress_status, progress_updated, result_data, dedupe, runner_instance, retry_delay, see_other) VALUES
-- ended well: a value, a string, nothing, several pieces, a number, text that is not ASCII
(1,'test::cat','["a"]','normal','2026-06-01 10:00:00','2026-06-01 10:00:02','complete',NULL,NULL,NULL,'2026-06-01 10:00:02',0,0,NULL,NULL,'{"a":[1,2],"b":null}','0d1f7cc1-3c1f-4e0e-9c5c-000000000001','aaaaaaaa-0000-4000-8000-000000000001',1,NULL),
(2,'test::cat','{"k":"v"}','high','2026-06-01 10:00:00','2026-06-01 10:00:01','complete',NULL,NULL,NULL,'2026-06-01 10:00:01',1,2,42.5,'2026-06-01 10:00:01','"text\\n"','0d1f7cc1-3c1f-4e0e-9c5c-000000000002','aaaaaaaa-0000-4000-8000-000000000001',1,NULL),
(3,'test::cat',NULL,'low','2026-06-01 10:00:00','2026-06-01 10:00:00','complete',NULL,NULL,NULL,'2026-06-01 10:00:00',0,0,NULL,NULL,NULL,'0d1f7cc1-3c1f-4e0e-9c5c-000000000003','aaaaaaaa-0000-4000-8000-000000000001',1,NULL),
(4,'test::log','[]','normal','2026-06-01 10:00:00','2026-06-01 10:00:03','complete',NULL,NULL,NULL,'2026-06-01 10:00:03',0,0,NULL,NULL,'null\n"x"\n"y"','nightly','aaaaaaaa-0000-4000-8000-000000000001',1,NULL),
(5,'test::log','5','normal','2026-06-01 10:00:00','2026-06-01 10:00:03','complete',NULL,NULL,NULL,'2026-06-01 10:00:03',0,0,NULL,NULL,'5','nightly','aaaaaaaa-0000-4000-8000-000000000001',1,NULL),
(6,'test::log','"é漢"','normal','2026-06-01 10:00:00','2026-06-01 10:00:03','complete','2026-06-01 10:00:01',NULL,NULL,'2026-06-01 10:00:03',0,0,NULL,NULL,'"é漢😀"','0d1f7cc1-3c1f-4e0e-9c5c-000000000006','aaaaaaaa-0000-4000-8000-000000000001',1,NULL),
-- failed: an error object, text, nothing, the core's envelope (twice), any other object
(20,'test::bad','["a"]','normal','2026-06-01 11:00:00','2026-06-01 11:00:02','errored',NULL,NULL,NULL,'2026-06-01 11:00:02',0,0,NULL,NULL,'{"code":42,"message":"m","data":{"k":1}}','0d1f7cc1-3c1f-4e0e-9c5c-000000000020',NULL,1,NULL),
(21,'test::bad','["a"]','normal','2026-06-01 11:00:00','2026-06-01 11:00:02','errored',NULL,NULL,NULL,NULL,2,2,NULL,NULL,'"went missing"','0d1f7cc1-3c1f-4e0e-9c5c-000000000021',NULL,3,NULL),
(22,'test::bad','["a"]','normal','2026-06-01 11:00:00','2026-06-01 11:00:02','errored',NULL,NULL,NULL,NULL,0,0,NULL,NULL,NULL,'0d1f7cc1-3c1f-4e0e-9c5c-000000000022',NULL,1,NULL),
(23,'test::bad','["a"]','normal','2026-06-01 11:00:00','2026-06-01 11:00:02','errored',NULL,NULL,NULL,NULL,0,0,NULL,NULL,'{"jsonrpc":"2.0","id":0,"error":{"code":-28404,"message":"No worker available"}}','0d1f7cc1-3c1f-4e0e-9c5c-000000000023',NULL,1,NULL),
(24,'test::bad','["a"]','normal','2026-06-01 11:00:00','2026-06-01 11:00:02','errored',NULL,23,NULL,NULL,0,0,NULL,NULL,'{"jsonrpc":"2.0","id":0,"error":{"code":-28523,"message":"Dependency (after) errored"}}','0d1f7cc1-3c1f-4e0e-9c5c-000000000024',NULL,1,NULL),
(25,'test::bad','["a"]','normal','2026-06-01 11:00:00','2026-06-01 11:00:02','errored',NULL,NULL,NULL,NULL,0,0,NULL,NULL,'{"stderr":"err\\n","stdout":"out\\n"}','0d1f7cc1-3c1f-4e0e-9c5c-000000000025',NULL,1,NULL),
(26,'test::bad','["a"]','normal','2026-06-01 11:00:00','2026-06-01 11:00:02','errored',NULL,NULL,NULL,NULL,0,0,NULL,NULL,'not JSON {','0d1f7cc1-3c1f-4e0e-9c5c-000000000026',NULL,1,NULL),
-- invalid, and duplicates: of a job that ended well, of one that failed, of a duplicate, of one that was deleted
(30,'test::cat','["a"]','normal','2026-06-01 11:00:00','2026-06-01 11:00:02','invalid',NULL,NULL,NULL,NULL,0,0,NULL,NULL,NULL,'0d1f7cc1-3c1f-4e0e-9c5c-000000000030',NULL,1,NULL),
(31,'test::log','[]','normal','2026-06-01 10:00:00','2026-06-01 10:00:01','duplicate',NULL,NULL,NULL,NULL,0,0,NULL,NULL,NULL,'nightly',NULL,1,5),
(32,'test::bad','[]','normal','2026-06-01 11:00:00','2026-06-01 11:00:01','duplicate',NULL,NULL,NULL,NULL,0,0,NULL,NULL,NULL,'hourly',NULL,1,20),
(33,'test::log','[]','normal','2026-06-01 10:00:00','2026-06-01 10:00:01','duplicate',NULL,NULL,NULL,NULL,0,0,NULL,NULL,NULL,'nightly',NULL,1,31),
(34,'test::log','[]','normal','2026-06-01 10:00:00','2026-06-01 10:00:01','duplicate',NULL,NULL,NULL,NULL,0,0,NULL,NULL,NULL,'nightly',NULL,1,19),
-- ready, and waiting: for a date to come, for one that is past, between tries, after a job that ended well
(40,'test::echo','["ready"]','normal','2026-06-01 12:00:00','2026-06-01 12:00:00','ready',NULL,NULL,NULL,NULL,0,0,NULL,NULL,NULL,'0d1f7cc1-3c1f-4e0e-9c5c-000000000040',NULL,1,NULL),
(41,'test::echo','["far"]','normal','2026-06-01 12:00:00','2026-06-01 12:00:00','waiting','9998-12-31 12:00:00',NULL,NULL,NULL,0,0,NULL,NULL,NULL,'yearly',NULL,1,NULL),
(42,'test::echo','["past"]','normal','2026-06-01 12:00:00','2026-06-01 12:00:00','waiting','2026-06-01 12:00:05',NULL,NULL,NULL,0,0,NULL,NULL,NULL,'0d1f7cc1-3c1f-4e0e-9c5c-000000000042',NULL,1,NULL),
(43,'test::echo','["retry"]','normal','2026-06-01 12:00:00','2026-06-01 12:00:01','waiting','2026-06-01 12:00:02',NULL,NULL,'2026-06-01 12:00:01',1,2,NULL,NULL,'{"jsonrpc":"2.0","id":0,"error":{"code":-28404,"message":"No worker available"}}','0d1f7cc1-3c1f-4e0e-9c5c-000000000043',NULL,1,NULL),
(44,'test::echo','["child"]','normal','2026-06-01 12:00:00','2026-06-01 12:00:00','waiting',NULL,1,NULL,NULL,0,0,NULL,NULL,NULL,'0d1f7cc1-3c1f-4e0e-9c5c-000000000044',NULL,1,NULL),
-- waiting for ever, in the original: after one that failed with its tries used up, after a duplicate, before-edges
(45,'test::echo','["never"]','normal','2026-06-01 12:00:00','2026-06-01 12:00:00','waiting',NULL,21,NULL,NULL,0,0,NULL,NULL,NULL,'0d1f7cc1-3c1f-4e0e-9c5c-000000000045',NULL,1,NULL),
(46,'test::echo','["double"]','normal','2026-06-01 12:00:00','2026-06-01 12:00:00','waiting',NULL,33,NULL,NULL,0,0,NULL,NULL,NULL,'0d1f7cc1-3c1f-4e0e-9c5c-000000000046',NULL,1,NULL),
(47,'test::echo','["target"]','normal','2026-06-01 12:00:00','2026-06-01 12:00:00','waiting',NULL,NULL,NULL,NULL,0,0,NULL,NULL,NULL,'0d1f7cc1-3c1f-4e0e-9c5c-000000000047',NULL,1,NULL),
(48,'test::echo','["member"]','normal','2026-06-01 12:00:00','2026-06-01 12:00:00','ready',NULL,NULL,47,NULL,0,0,NULL,NULL,NULL,'0d1f7cc1-3c1f-4e0e-9c5c-000000000048',NULL,1,NULL),
(49,'test::cat','["member"]','normal','2026-06-01 12:00:00','2026-06-01 12:00:00','complete',NULL,NULL,47,'2026-06-01 12:00:01',0,0,NULL,NULL,'1','0d1f7cc1-3c1f-4e0e-9c5c-000000000049',NULL,1,NULL),
-- under way: running (two of one dedupe, by the original's race), paused, almost done, missing
(60,'test::slow','["a"]','normal','2026-06-01 12:00:00','2026-06-01 12:00:01','running',NULL,NULL,NULL,NULL,0,0,12.5,'2026-06-01 12:00:01',NULL,'0d1f7cc1-3c1f-4e0e-9c5c-000000000060','aaaaaaaa-0000-4000-8000-000000000001',1,NULL),
(61,'test::slow','["a"]','normal','2026-06-01 12:00:00','2026-06-01 12:00:01','running',NULL,NULL,NULL,NULL,0,0,NULL,NULL,NULL,'race','aaaaaaaa-0000-4000-8000-000000000001',1,NULL),
(62,'test::slow','["a"]','normal','2026-06-01 12:00:00','2026-06-01 12:00:01','running',NULL,NULL,NULL,NULL,0,0,NULL,NULL,NULL,'race','aaaaaaaa-0000-4000-8000-000000000001',1,NULL),
(63,'gearbox\\core::noopwait','null','normal','2026-06-01 12:00:00','2026-06-01 12:00:01','running',NULL,NULL,NULL,NULL,0,0,NULL,NULL,NULL,'0d1f7cc1-3c1f-4e0e-9c5c-000000000063','aaaaaaaa-0000-4000-8000-000000000001',1,NULL),
(64,'test::slow','["a"]','normal','2026-06-01 12:00:00','2026-06-01 12:00:01','almost-done',NULL,NULL,NULL,NULL,0,0,NULL,NULL,'"half"','0d1f7cc1-3c1f-4e0e-9c5c-000000000064','aaaaaaaa-0000-4000-8000-000000000001',1,NULL),
(65,'test::slow','["a"]','normal','2026-06-01 12:00:00','2026-06-01 12:00:01','missing',NULL,NULL,NULL,NULL,0,1,NULL,NULL,NULL,'0d1f7cc1-3c1f-4e0e-9c5c-000000000065',NULL,1,NULL);
