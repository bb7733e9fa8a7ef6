/*M!999999\- enable the sandbox mode */ 
/*!40103 SET @OLD_TIME_ZONE=@@TIME_ZONE */;
/*!40103 SET TIME_ZONE='+00:00' */;
/*!40014 SET @OLD_UNIQUE_CHECKS=@@UNIQUE_CHECKS, UNIQUE_CHECKS=0 */;
/*!40014 SET @OLD_FOREIGN_KEY_CHECKS=@@FOREIGN_KEY_CHECKS, FOREIGN_KEY_CHECKS=0 */;
/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO' */;
/*!40111 SET @OLD_SQL_NOTES=@@SQL_NOTES, SQL_NOTES=0 */;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `gearbox_actions` (
  `id` bigint(20) NOT NULL AUTO_INCREMENT,
  `at` bigint(20) NOT NULL,
  `who` text NOT NULL,
  `action` varchar(255) NOT NULL,
  `target` text NOT NULL,
  `reason` text NOT NULL,
  `jobs` bigint(20) DEFAULT NULL,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_nopad_bin;
/*!40101 SET character_set_client = @saved_cs_client */;

LOCK TABLES `gearbox_actions` WRITE;
/*!40000 ALTER TABLE `gearbox_actions` DISABLE KEYS */;
/*!40000 ALTER TABLE `gearbox_actions` ENABLE KEYS */;
UNLOCK TABLES;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `gearbox_attempts` (
  `job_id` bigint(20) NOT NULL,
  `epoch` int(10) unsigned NOT NULL,
  `owner` varchar(64) NOT NULL,
  `claimed_at` bigint(20) NOT NULL,
  `started_at` bigint(20) DEFAULT NULL,
  `ended_at` bigint(20) DEFAULT NULL,
  `outcome` enum('complete','errored','worker_failed','no_worker','missing','released','refused','cancelled','timed_out') DEFAULT NULL,
  `worker` longtext DEFAULT NULL,
  `error` longtext DEFAULT NULL,
  `server` varchar(300) DEFAULT NULL,
  PRIMARY KEY (`job_id`,`epoch`),
  CONSTRAINT `gearbox_attempts_ibfk_1` FOREIGN KEY (`job_id`) REFERENCES `gearbox_jobs` (`id`) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_nopad_bin;
/*!40101 SET character_set_client = @saved_cs_client */;

LOCK TABLES `gearbox_attempts` WRITE;
/*!40000 ALTER TABLE `gearbox_attempts` DISABLE KEYS */;
INSERT INTO `gearbox_attempts` (`job_id`, `epoch`, `owner`, `claimed_at`, `started_at`, `ended_at`, `outcome`, `worker`, `error`, `server`) VALUES (1,1,'core',1800000000000000,NULL,1800000000000000,'complete',NULL,NULL,NULL);
INSERT INTO `gearbox_attempts` (`job_id`, `epoch`, `owner`, `claimed_at`, `started_at`, `ended_at`, `outcome`, `worker`, `error`, `server`) VALUES (2,1,'core',1800000000000000,NULL,1800000000000000,'errored',NULL,'\"no\"',NULL);
INSERT INTO `gearbox_attempts` (`job_id`, `epoch`, `owner`, `claimed_at`, `started_at`, `ended_at`, `outcome`, `worker`, `error`, `server`) VALUES (6,1,'core',1800000000000000,NULL,1800000000000000,'errored',NULL,'\"no\"',NULL);
INSERT INTO `gearbox_attempts` (`job_id`, `epoch`, `owner`, `claimed_at`, `started_at`, `ended_at`, `outcome`, `worker`, `error`, `server`) VALUES (7,1,'core',1800000000000000,NULL,1800000000000000,'cancelled',NULL,'{\"code\":-28499,\"message\":\"cancelled: no\"}',NULL);
INSERT INTO `gearbox_attempts` (`job_id`, `epoch`, `owner`, `claimed_at`, `started_at`, `ended_at`, `outcome`, `worker`, `error`, `server`) VALUES (8,1,'core',1800000000000000,1800000000000000,NULL,NULL,'host:1',NULL,NULL);
INSERT INTO `gearbox_attempts` (`job_id`, `epoch`, `owner`, `claimed_at`, `started_at`, `ended_at`, `outcome`, `worker`, `error`, `server`) VALUES (10,1,'core',1800000000000000,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `gearbox_attempts` (`job_id`, `epoch`, `owner`, `claimed_at`, `started_at`, `ended_at`, `outcome`, `worker`, `error`, `server`) VALUES (11,1,'core',1800000000000000,1800000000000000,NULL,NULL,'host:1',NULL,NULL);
INSERT INTO `gearbox_attempts` (`job_id`, `epoch`, `owner`, `claimed_at`, `started_at`, `ended_at`, `outcome`, `worker`, `error`, `server`) VALUES (13,1,'core',1800000000000000,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `gearbox_attempts` (`job_id`, `epoch`, `owner`, `claimed_at`, `started_at`, `ended_at`, `outcome`, `worker`, `error`, `server`) VALUES (14,1,'core',1800000000000000,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `gearbox_attempts` (`job_id`, `epoch`, `owner`, `claimed_at`, `started_at`, `ended_at`, `outcome`, `worker`, `error`, `server`) VALUES (15,1,'core',1800000000000000,NULL,NULL,NULL,NULL,NULL,NULL);
/*!40000 ALTER TABLE `gearbox_attempts` ENABLE KEYS */;
UNLOCK TABLES;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `gearbox_controls` (
  `method_name` varchar(255) NOT NULL,
  `is_paused` tinyint(4) NOT NULL DEFAULT 0,
  `concurrency` bigint(20) DEFAULT NULL,
  `updated_us` bigint(20) NOT NULL,
  `who` text NOT NULL,
  PRIMARY KEY (`method_name`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_nopad_bin;
/*!40101 SET character_set_client = @saved_cs_client */;

LOCK TABLES `gearbox_controls` WRITE;
/*!40000 ALTER TABLE `gearbox_controls` DISABLE KEYS */;
INSERT INTO `gearbox_controls` (`method_name`, `is_paused`, `concurrency`, `updated_us`, `who`) VALUES ('c::d',0,1,1800000000000000,'core');
/*!40000 ALTER TABLE `gearbox_controls` ENABLE KEYS */;
UNLOCK TABLES;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `gearbox_cores` (
  `core_id` varchar(64) NOT NULL,
  `name` varchar(255) NOT NULL,
  `state` enum('alive','dead') NOT NULL,
  `beats` bigint(20) NOT NULL,
  `began_at` bigint(20) NOT NULL,
  `beat_at` bigint(20) NOT NULL,
  PRIMARY KEY (`core_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_nopad_bin;
/*!40101 SET character_set_client = @saved_cs_client */;

LOCK TABLES `gearbox_cores` WRITE;
/*!40000 ALTER TABLE `gearbox_cores` DISABLE KEYS */;
/*!40000 ALTER TABLE `gearbox_cores` ENABLE KEYS */;
UNLOCK TABLES;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `gearbox_counts` (
  `method_name` varchar(255) NOT NULL,
  `status` enum('ready','waiting','running','almost-done','errored','complete','invalid','missing','duplicate') NOT NULL,
  `jobs` bigint(20) NOT NULL,
  PRIMARY KEY (`method_name`,`status`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_nopad_bin;
/*!40101 SET character_set_client = @saved_cs_client */;

LOCK TABLES `gearbox_counts` WRITE;
/*!40000 ALTER TABLE `gearbox_counts` DISABLE KEYS */;
INSERT INTO `gearbox_counts` (`method_name`, `status`, `jobs`) VALUES ('a::b','ready',1);
INSERT INTO `gearbox_counts` (`method_name`, `status`, `jobs`) VALUES ('a::b','waiting',4);
INSERT INTO `gearbox_counts` (`method_name`, `status`, `jobs`) VALUES ('a::b','running',2);
INSERT INTO `gearbox_counts` (`method_name`, `status`, `jobs`) VALUES ('a::b','almost-done',1);
INSERT INTO `gearbox_counts` (`method_name`, `status`, `jobs`) VALUES ('a::b','errored',1);
INSERT INTO `gearbox_counts` (`method_name`, `status`, `jobs`) VALUES ('a::b','complete',1);
INSERT INTO `gearbox_counts` (`method_name`, `status`, `jobs`) VALUES ('a::b','invalid',1);
INSERT INTO `gearbox_counts` (`method_name`, `status`, `jobs`) VALUES ('a::b','missing',1);
INSERT INTO `gearbox_counts` (`method_name`, `status`, `jobs`) VALUES ('a::b','duplicate',1);
INSERT INTO `gearbox_counts` (`method_name`, `status`, `jobs`) VALUES ('c::d','ready',1);
INSERT INTO `gearbox_counts` (`method_name`, `status`, `jobs`) VALUES ('c::d','running',1);
INSERT INTO `gearbox_counts` (`method_name`, `status`, `jobs`) VALUES ('gearbox\\core::noopwait','running',1);
/*!40000 ALTER TABLE `gearbox_counts` ENABLE KEYS */;
UNLOCK TABLES;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `gearbox_events` (
  `job_id` bigint(20) NOT NULL,
  `seq` int(10) unsigned NOT NULL,
  `at` bigint(20) NOT NULL,
  `from_status` enum('ready','waiting','running','almost-done','errored','complete','invalid','missing','duplicate') DEFAULT NULL,
  `to_status` enum('ready','waiting','running','almost-done','errored','complete','invalid','missing','duplicate') NOT NULL,
  `epoch` int(10) unsigned NOT NULL,
  `why` text NOT NULL,
  `who` text NOT NULL,
  PRIMARY KEY (`job_id`,`seq`),
  CONSTRAINT `gearbox_events_ibfk_1` FOREIGN KEY (`job_id`) REFERENCES `gearbox_jobs` (`id`) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_nopad_bin;
/*!40101 SET character_set_client = @saved_cs_client */;

LOCK TABLES `gearbox_events` WRITE;
/*!40000 ALTER TABLE `gearbox_events` DISABLE KEYS */;
INSERT INTO `gearbox_events` (`job_id`, `seq`, `at`, `from_status`, `to_status`, `epoch`, `why`, `who`) VALUES (1,1,1800000000000000,NULL,'ready',0,'queued','core');
INSERT INTO `gearbox_events` (`job_id`, `seq`, `at`, `from_status`, `to_status`, `epoch`, `why`, `who`) VALUES (1,2,1800000000000000,'ready','running',1,'claimed','core');
INSERT INTO `gearbox_events` (`job_id`, `seq`, `at`, `from_status`, `to_status`, `epoch`, `why`, `who`) VALUES (1,3,1800000000000000,'running','complete',1,'worker\'s data','core');
INSERT INTO `gearbox_events` (`job_id`, `seq`, `at`, `from_status`, `to_status`, `epoch`, `why`, `who`) VALUES (2,1,1800000000000000,NULL,'ready',0,'queued','core');
INSERT INTO `gearbox_events` (`job_id`, `seq`, `at`, `from_status`, `to_status`, `epoch`, `why`, `who`) VALUES (2,2,1800000000000000,'ready','running',1,'claimed','core');
INSERT INTO `gearbox_events` (`job_id`, `seq`, `at`, `from_status`, `to_status`, `epoch`, `why`, `who`) VALUES (2,3,1800000000000000,'running','waiting',1,'worker\'s error: retry','core');
INSERT INTO `gearbox_events` (`job_id`, `seq`, `at`, `from_status`, `to_status`, `epoch`, `why`, `who`) VALUES (3,1,1800000000000000,NULL,'waiting',0,'queued','core');
INSERT INTO `gearbox_events` (`job_id`, `seq`, `at`, `from_status`, `to_status`, `epoch`, `why`, `who`) VALUES (4,1,1800000000000000,NULL,'waiting',0,'queued','core');
INSERT INTO `gearbox_events` (`job_id`, `seq`, `at`, `from_status`, `to_status`, `epoch`, `why`, `who`) VALUES (5,1,1800000000000000,NULL,'ready',0,'queued','core');
INSERT INTO `gearbox_events` (`job_id`, `seq`, `at`, `from_status`, `to_status`, `epoch`, `why`, `who`) VALUES (6,1,1800000000000000,NULL,'ready',0,'queued','core');
INSERT INTO `gearbox_events` (`job_id`, `seq`, `at`, `from_status`, `to_status`, `epoch`, `why`, `who`) VALUES (6,2,1800000000000000,'ready','running',1,'claimed','core');
INSERT INTO `gearbox_events` (`job_id`, `seq`, `at`, `from_status`, `to_status`, `epoch`, `why`, `who`) VALUES (6,3,1800000000000000,'running','errored',1,'worker\'s error','core');
INSERT INTO `gearbox_events` (`job_id`, `seq`, `at`, `from_status`, `to_status`, `epoch`, `why`, `who`) VALUES (7,1,1800000000000000,NULL,'ready',0,'queued','core');
INSERT INTO `gearbox_events` (`job_id`, `seq`, `at`, `from_status`, `to_status`, `epoch`, `why`, `who`) VALUES (7,2,1800000000000000,'ready','running',1,'claimed','core');
INSERT INTO `gearbox_events` (`job_id`, `seq`, `at`, `from_status`, `to_status`, `epoch`, `why`, `who`) VALUES (7,3,1800000000000000,'running','invalid',1,'cancelled: no','core');
INSERT INTO `gearbox_events` (`job_id`, `seq`, `at`, `from_status`, `to_status`, `epoch`, `why`, `who`) VALUES (8,1,1800000000000000,NULL,'ready',0,'queued','core');
INSERT INTO `gearbox_events` (`job_id`, `seq`, `at`, `from_status`, `to_status`, `epoch`, `why`, `who`) VALUES (8,2,1800000000000000,'ready','running',1,'claimed','core');
INSERT INTO `gearbox_events` (`job_id`, `seq`, `at`, `from_status`, `to_status`, `epoch`, `why`, `who`) VALUES (9,1,1800000000000000,NULL,'ready',0,'queued','core');
INSERT INTO `gearbox_events` (`job_id`, `seq`, `at`, `from_status`, `to_status`, `epoch`, `why`, `who`) VALUES (9,2,1800000000000000,'ready','duplicate',0,'dedupe: 8 runs','core');
INSERT INTO `gearbox_events` (`job_id`, `seq`, `at`, `from_status`, `to_status`, `epoch`, `why`, `who`) VALUES (10,1,1800000000000000,NULL,'ready',0,'queued','core');
INSERT INTO `gearbox_events` (`job_id`, `seq`, `at`, `from_status`, `to_status`, `epoch`, `why`, `who`) VALUES (10,2,1800000000000000,'ready','running',1,'claimed','core');
INSERT INTO `gearbox_events` (`job_id`, `seq`, `at`, `from_status`, `to_status`, `epoch`, `why`, `who`) VALUES (10,3,1800000000000000,'running','almost-done',1,'ended, data to come','core');
INSERT INTO `gearbox_events` (`job_id`, `seq`, `at`, `from_status`, `to_status`, `epoch`, `why`, `who`) VALUES (11,1,1800000000000000,NULL,'ready',0,'queued','core');
INSERT INTO `gearbox_events` (`job_id`, `seq`, `at`, `from_status`, `to_status`, `epoch`, `why`, `who`) VALUES (11,2,1800000000000000,'ready','running',1,'claimed','core');
INSERT INTO `gearbox_events` (`job_id`, `seq`, `at`, `from_status`, `to_status`, `epoch`, `why`, `who`) VALUES (11,3,1800000000000000,'running','missing',1,'connection lost','core');
INSERT INTO `gearbox_events` (`job_id`, `seq`, `at`, `from_status`, `to_status`, `epoch`, `why`, `who`) VALUES (12,1,1800000000000000,NULL,'waiting',0,'queued','core');
INSERT INTO `gearbox_events` (`job_id`, `seq`, `at`, `from_status`, `to_status`, `epoch`, `why`, `who`) VALUES (13,1,1800000000000000,NULL,'ready',0,'queued','core');
INSERT INTO `gearbox_events` (`job_id`, `seq`, `at`, `from_status`, `to_status`, `epoch`, `why`, `who`) VALUES (13,2,1800000000000000,'ready','running',1,'claimed','core');
INSERT INTO `gearbox_events` (`job_id`, `seq`, `at`, `from_status`, `to_status`, `epoch`, `why`, `who`) VALUES (14,1,1800000000000000,NULL,'ready',0,'queued','core');
INSERT INTO `gearbox_events` (`job_id`, `seq`, `at`, `from_status`, `to_status`, `epoch`, `why`, `who`) VALUES (14,2,1800000000000000,'ready','running',1,'noopwait','core');
INSERT INTO `gearbox_events` (`job_id`, `seq`, `at`, `from_status`, `to_status`, `epoch`, `why`, `who`) VALUES (15,1,1800000000000000,NULL,'ready',0,'queued','core');
INSERT INTO `gearbox_events` (`job_id`, `seq`, `at`, `from_status`, `to_status`, `epoch`, `why`, `who`) VALUES (15,2,1800000000000000,'ready','running',1,'claimed','core');
INSERT INTO `gearbox_events` (`job_id`, `seq`, `at`, `from_status`, `to_status`, `epoch`, `why`, `who`) VALUES (16,1,1800000000000000,NULL,'ready',0,'queued','core');
/*!40000 ALTER TABLE `gearbox_events` ENABLE KEYS */;
UNLOCK TABLES;
/*!50003 SET @saved_cs_client      = @@character_set_client */ ;
/*!50003 SET @saved_cs_results     = @@character_set_results */ ;
/*!50003 SET @saved_col_connection = @@collation_connection */ ;
/*!50003 SET character_set_client  = utf8mb4 */ ;
/*!50003 SET character_set_results = utf8mb4 */ ;
/*!50003 SET collation_connection  = utf8mb4_general_ci */ ;
/*!50003 SET @saved_sql_mode       = @@sql_mode */ ;
/*!50003 SET sql_mode              = 'STRICT_ALL_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION' */ ;
DELIMITER ;;
/*!50003 CREATE*/ /*!50017 DEFINER=`root`@`localhost`*/ /*!50003 TRIGGER gearbox_events_are_final BEFORE UPDATE ON gearbox_events FOR EACH ROW
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'the audit is append-only' 
*/;;
DELIMITER ;
/*!50003 SET sql_mode              = @saved_sql_mode */ ;
/*!50003 SET character_set_client  = @saved_cs_client */ ;
/*!50003 SET character_set_results = @saved_cs_results */ ;
/*!50003 SET collation_connection  = @saved_col_connection */ ;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `gearbox_ids` (
  `id` bigint(20) NOT NULL AUTO_INCREMENT,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB AUTO_INCREMENT=17 DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_nopad_bin;
/*!40101 SET character_set_client = @saved_cs_client */;

LOCK TABLES `gearbox_ids` WRITE;
/*!40000 ALTER TABLE `gearbox_ids` DISABLE KEYS */;
/*!40000 ALTER TABLE `gearbox_ids` ENABLE KEYS */;
UNLOCK TABLES;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `gearbox_jobs` (
  `id` bigint(20) NOT NULL,
  `method_name` varchar(255) NOT NULL,
  `arguments` longtext DEFAULT NULL,
  `priority` enum('high','normal','low') NOT NULL DEFAULT 'normal',
  `created_us` bigint(20) NOT NULL,
  `updated_us` bigint(20) NOT NULL,
  `status` enum('ready','waiting','running','almost-done','errored','complete','invalid','missing','duplicate') NOT NULL DEFAULT 'ready',
  `dedupe` varchar(255) NOT NULL,
  `has_dedupe` tinyint(4) NOT NULL DEFAULT 0,
  `after_date_us` bigint(20) DEFAULT NULL,
  `after_id` bigint(20) DEFAULT NULL,
  `before_id` bigint(20) DEFAULT NULL,
  `completed_us` bigint(20) DEFAULT NULL,
  `retries` int(10) unsigned NOT NULL DEFAULT 0,
  `max_retries` int(10) unsigned NOT NULL DEFAULT 0,
  `retry_delay` double NOT NULL DEFAULT 1,
  `progress_status` double DEFAULT NULL,
  `progress_updated_us` bigint(20) DEFAULT NULL,
  `result_data` longtext DEFAULT NULL,
  `runner_instance` varchar(64) DEFAULT NULL,
  `ready_at` bigint(20) DEFAULT NULL,
  `claimed_at` bigint(20) DEFAULT NULL,
  `see_other` bigint(20) DEFAULT NULL,
  `epoch` int(10) unsigned NOT NULL DEFAULT 0,
  `next_at` bigint(20) DEFAULT NULL,
  `released` tinyint(4) NOT NULL DEFAULT 0,
  `events` int(10) unsigned NOT NULL DEFAULT 0,
  `backoff` enum('fixed','exponential') NOT NULL DEFAULT 'fixed',
  `retry_delay_max` double NOT NULL DEFAULT 3600,
  `timeout` double DEFAULT NULL,
  `expires` bigint(20) DEFAULT NULL,
  `opens_at` bigint(20) DEFAULT NULL,
  `lease_at` bigint(20) DEFAULT NULL,
  `stops_at` bigint(20) DEFAULT NULL,
  `held` tinyint(4) DEFAULT NULL,
  `retry_of` bigint(20) DEFAULT NULL,
  `schedule` varchar(255) DEFAULT NULL,
  `submit_token` varchar(300) DEFAULT NULL,
  `run_key` binary(32) GENERATED ALWAYS AS (if(`has_dedupe` = 1 and `status` in ('running','almost-done','missing'),unhex(sha2(`dedupe`,256)),NULL)) VIRTUAL,
  `created` datetime GENERATED ALWAYS AS ('1970-01-01 00:00:00' + interval `created_us` DIV 1000000 second) VIRTUAL,
  `updated` datetime GENERATED ALWAYS AS ('1970-01-01 00:00:00' + interval `updated_us` DIV 1000000 second) VIRTUAL,
  `after_date` datetime GENERATED ALWAYS AS ('1970-01-01 00:00:00' + interval `after_date_us` DIV 1000000 second) VIRTUAL,
  `completed` datetime GENERATED ALWAYS AS ('1970-01-01 00:00:00' + interval `completed_us` DIV 1000000 second) VIRTUAL,
  `progress_updated` datetime GENERATED ALWAYS AS ('1970-01-01 00:00:00' + interval `progress_updated_us` DIV 1000000 second) VIRTUAL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `one_active` (`run_key`),
  UNIQUE KEY `retry_of` (`retry_of`),
  UNIQUE KEY `token` (`submit_token`),
  KEY `by_status` (`status`),
  KEY `due` (`next_at`),
  KEY `after_id` (`after_id`),
  KEY `before_id` (`before_id`,`status`),
  KEY `see_other` (`see_other`),
  KEY `method_name` (`method_name`),
  KEY `dedupe` (`dedupe`),
  KEY `held` (`held`,`method_name`),
  CONSTRAINT `gearbox_jobs_ibfk_1` FOREIGN KEY (`after_id`) REFERENCES `gearbox_jobs` (`id`),
  CONSTRAINT `gearbox_jobs_ibfk_2` FOREIGN KEY (`see_other`) REFERENCES `gearbox_jobs` (`id`),
  CONSTRAINT `gearbox_jobs_ibfk_3` FOREIGN KEY (`retry_of`) REFERENCES `gearbox_jobs` (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_nopad_bin;
/*!40101 SET character_set_client = @saved_cs_client */;

LOCK TABLES `gearbox_jobs` WRITE;
/*!40000 ALTER TABLE `gearbox_jobs` DISABLE KEYS */;
INSERT INTO `gearbox_jobs` (`id`, `method_name`, `arguments`, `priority`, `created_us`, `updated_us`, `status`, `dedupe`, `has_dedupe`, `after_date_us`, `after_id`, `before_id`, `completed_us`, `retries`, `max_retries`, `retry_delay`, `progress_status`, `progress_updated_us`, `result_data`, `runner_instance`, `ready_at`, `claimed_at`, `see_other`, `epoch`, `next_at`, `released`, `events`, `backoff`, `retry_delay_max`, `timeout`, `expires`, `opens_at`, `lease_at`, `stops_at`, `held`, `retry_of`, `schedule`, `submit_token`, `run_key`, `created`, `updated`, `after_date`, `completed`, `progress_updated`) VALUES (1,'a::b','[\"Ã©\", 1]','normal',1800000000000000,1800000000000000,'complete','D',1,NULL,NULL,NULL,1800000000000000,0,0,1,NULL,NULL,'\"result\"','core',1800000000000000,1800000000000000,NULL,1,NULL,0,3,'fixed',3600,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'2027-01-15 08:00:00','2027-01-15 08:00:00',NULL,'2027-01-15 08:00:00',NULL);
INSERT INTO `gearbox_jobs` (`id`, `method_name`, `arguments`, `priority`, `created_us`, `updated_us`, `status`, `dedupe`, `has_dedupe`, `after_date_us`, `after_id`, `before_id`, `completed_us`, `retries`, `max_retries`, `retry_delay`, `progress_status`, `progress_updated_us`, `result_data`, `runner_instance`, `ready_at`, `claimed_at`, `see_other`, `epoch`, `next_at`, `released`, `events`, `backoff`, `retry_delay_max`, `timeout`, `expires`, `opens_at`, `lease_at`, `stops_at`, `held`, `retry_of`, `schedule`, `submit_token`, `run_key`, `created`, `updated`, `after_date`, `completed`, `progress_updated`) VALUES (2,'a::b',NULL,'normal',1800000000000000,1800000000000000,'waiting','ffa09f4c-54ff-48e2-9ed3-7fcfd4f2db1f',0,NULL,NULL,NULL,NULL,1,2,5,NULL,NULL,'\"no\"','core',1800000000000000,1800000000000000,NULL,1,1800000005000000,0,3,'fixed',3600,NULL,NULL,1800000005000000,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'2027-01-15 08:00:00','2027-01-15 08:00:00',NULL,NULL,NULL);
INSERT INTO `gearbox_jobs` (`id`, `method_name`, `arguments`, `priority`, `created_us`, `updated_us`, `status`, `dedupe`, `has_dedupe`, `after_date_us`, `after_id`, `before_id`, `completed_us`, `retries`, `max_retries`, `retry_delay`, `progress_status`, `progress_updated_us`, `result_data`, `runner_instance`, `ready_at`, `claimed_at`, `see_other`, `epoch`, `next_at`, `released`, `events`, `backoff`, `retry_delay_max`, `timeout`, `expires`, `opens_at`, `lease_at`, `stops_at`, `held`, `retry_of`, `schedule`, `submit_token`, `run_key`, `created`, `updated`, `after_date`, `completed`, `progress_updated`) VALUES (3,'a::b',NULL,'normal',1800000000000000,1800000000000000,'waiting','b632f668-1126-41c8-a84a-a86cf732b0e9',0,NULL,2,NULL,NULL,0,0,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,0,1,'fixed',3600,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'2027-01-15 08:00:00','2027-01-15 08:00:00',NULL,NULL,NULL);
INSERT INTO `gearbox_jobs` (`id`, `method_name`, `arguments`, `priority`, `created_us`, `updated_us`, `status`, `dedupe`, `has_dedupe`, `after_date_us`, `after_id`, `before_id`, `completed_us`, `retries`, `max_retries`, `retry_delay`, `progress_status`, `progress_updated_us`, `result_data`, `runner_instance`, `ready_at`, `claimed_at`, `see_other`, `epoch`, `next_at`, `released`, `events`, `backoff`, `retry_delay_max`, `timeout`, `expires`, `opens_at`, `lease_at`, `stops_at`, `held`, `retry_of`, `schedule`, `submit_token`, `run_key`, `created`, `updated`, `after_date`, `completed`, `progress_updated`) VALUES (4,'a::b',NULL,'normal',1800000000000000,1800000000000000,'waiting','c45d8bab-6b98-4122-969b-901d2c101d74',0,1800001000000000,NULL,NULL,NULL,0,0,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,1800001000000000,0,1,'fixed',3600,NULL,NULL,1800001000000000,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'2027-01-15 08:00:00','2027-01-15 08:00:00','2027-01-15 08:16:40',NULL,NULL);
INSERT INTO `gearbox_jobs` (`id`, `method_name`, `arguments`, `priority`, `created_us`, `updated_us`, `status`, `dedupe`, `has_dedupe`, `after_date_us`, `after_id`, `before_id`, `completed_us`, `retries`, `max_retries`, `retry_delay`, `progress_status`, `progress_updated_us`, `result_data`, `runner_instance`, `ready_at`, `claimed_at`, `see_other`, `epoch`, `next_at`, `released`, `events`, `backoff`, `retry_delay_max`, `timeout`, `expires`, `opens_at`, `lease_at`, `stops_at`, `held`, `retry_of`, `schedule`, `submit_token`, `run_key`, `created`, `updated`, `after_date`, `completed`, `progress_updated`) VALUES (5,'a::b',NULL,'normal',1800000000000000,1800000000000000,'ready','7dae69e2-2516-436e-970c-d62723294c41',0,NULL,NULL,NULL,NULL,0,0,1,NULL,NULL,NULL,NULL,1800000000000000,NULL,NULL,0,NULL,0,1,'fixed',3600,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'2027-01-15 08:00:00','2027-01-15 08:00:00',NULL,NULL,NULL);
INSERT INTO `gearbox_jobs` (`id`, `method_name`, `arguments`, `priority`, `created_us`, `updated_us`, `status`, `dedupe`, `has_dedupe`, `after_date_us`, `after_id`, `before_id`, `completed_us`, `retries`, `max_retries`, `retry_delay`, `progress_status`, `progress_updated_us`, `result_data`, `runner_instance`, `ready_at`, `claimed_at`, `see_other`, `epoch`, `next_at`, `released`, `events`, `backoff`, `retry_delay_max`, `timeout`, `expires`, `opens_at`, `lease_at`, `stops_at`, `held`, `retry_of`, `schedule`, `submit_token`, `run_key`, `created`, `updated`, `after_date`, `completed`, `progress_updated`) VALUES (6,'a::b',NULL,'normal',1800000000000000,1800000000000000,'errored','9b37ec34-be19-4231-aef9-1c7211d879dd',0,NULL,NULL,NULL,1800000000000000,0,0,1,NULL,NULL,'\"no\"','core',1800000000000000,1800000000000000,NULL,1,NULL,0,3,'fixed',3600,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'2027-01-15 08:00:00','2027-01-15 08:00:00',NULL,'2027-01-15 08:00:00',NULL);
INSERT INTO `gearbox_jobs` (`id`, `method_name`, `arguments`, `priority`, `created_us`, `updated_us`, `status`, `dedupe`, `has_dedupe`, `after_date_us`, `after_id`, `before_id`, `completed_us`, `retries`, `max_retries`, `retry_delay`, `progress_status`, `progress_updated_us`, `result_data`, `runner_instance`, `ready_at`, `claimed_at`, `see_other`, `epoch`, `next_at`, `released`, `events`, `backoff`, `retry_delay_max`, `timeout`, `expires`, `opens_at`, `lease_at`, `stops_at`, `held`, `retry_of`, `schedule`, `submit_token`, `run_key`, `created`, `updated`, `after_date`, `completed`, `progress_updated`) VALUES (7,'a::b',NULL,'normal',1800000000000000,1800000000000000,'invalid','7c704ef5-e4ca-4c2a-97eb-6c42ae353523',0,NULL,NULL,NULL,1800000000000000,0,0,1,NULL,NULL,'{\"code\":-28499,\"message\":\"cancelled: no\"}','core',1800000000000000,1800000000000000,NULL,1,NULL,0,3,'fixed',3600,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'2027-01-15 08:00:00','2027-01-15 08:00:00',NULL,'2027-01-15 08:00:00',NULL);
INSERT INTO `gearbox_jobs` (`id`, `method_name`, `arguments`, `priority`, `created_us`, `updated_us`, `status`, `dedupe`, `has_dedupe`, `after_date_us`, `after_id`, `before_id`, `completed_us`, `retries`, `max_retries`, `retry_delay`, `progress_status`, `progress_updated_us`, `result_data`, `runner_instance`, `ready_at`, `claimed_at`, `see_other`, `epoch`, `next_at`, `released`, `events`, `backoff`, `retry_delay_max`, `timeout`, `expires`, `opens_at`, `lease_at`, `stops_at`, `held`, `retry_of`, `schedule`, `submit_token`, `run_key`, `created`, `updated`, `after_date`, `completed`, `progress_updated`) VALUES (8,'a::b',NULL,'normal',1800000000000000,1800000000000000,'running','E',1,NULL,NULL,NULL,NULL,0,0,1,NULL,NULL,NULL,'core',1800000000000000,1800000000000000,NULL,1,1800000050000000,0,2,'fixed',3600,50,NULL,NULL,NULL,1800000050000000,NULL,NULL,NULL,NULL,'©õf½g÷êjÕK¹Þ´I÷•X-e) â\"¸˜3ìX','2027-01-15 08:00:00','2027-01-15 08:00:00',NULL,NULL,NULL);
INSERT INTO `gearbox_jobs` (`id`, `method_name`, `arguments`, `priority`, `created_us`, `updated_us`, `status`, `dedupe`, `has_dedupe`, `after_date_us`, `after_id`, `before_id`, `completed_us`, `retries`, `max_retries`, `retry_delay`, `progress_status`, `progress_updated_us`, `result_data`, `runner_instance`, `ready_at`, `claimed_at`, `see_other`, `epoch`, `next_at`, `released`, `events`, `backoff`, `retry_delay_max`, `timeout`, `expires`, `opens_at`, `lease_at`, `stops_at`, `held`, `retry_of`, `schedule`, `submit_token`, `run_key`, `created`, `updated`, `after_date`, `completed`, `progress_updated`) VALUES (9,'a::b',NULL,'normal',1800000000000000,1800000000000000,'duplicate','E',1,NULL,NULL,NULL,1800000000000000,0,0,1,NULL,NULL,NULL,NULL,1800000000000000,NULL,8,0,NULL,0,2,'fixed',3600,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'2027-01-15 08:00:00','2027-01-15 08:00:00',NULL,'2027-01-15 08:00:00',NULL);
INSERT INTO `gearbox_jobs` (`id`, `method_name`, `arguments`, `priority`, `created_us`, `updated_us`, `status`, `dedupe`, `has_dedupe`, `after_date_us`, `after_id`, `before_id`, `completed_us`, `retries`, `max_retries`, `retry_delay`, `progress_status`, `progress_updated_us`, `result_data`, `runner_instance`, `ready_at`, `claimed_at`, `see_other`, `epoch`, `next_at`, `released`, `events`, `backoff`, `retry_delay_max`, `timeout`, `expires`, `opens_at`, `lease_at`, `stops_at`, `held`, `retry_of`, `schedule`, `submit_token`, `run_key`, `created`, `updated`, `after_date`, `completed`, `progress_updated`) VALUES (10,'a::b',NULL,'normal',1800000000000000,1800000000000000,'almost-done','5f1d2794-b5ba-4d22-8282-3cc6b1c848d0',0,NULL,NULL,NULL,NULL,0,0,1,NULL,NULL,NULL,'core',1800000000000000,1800000000000000,NULL,1,1800000030000000,0,3,'fixed',3600,NULL,NULL,NULL,1800000030000000,NULL,NULL,NULL,NULL,NULL,NULL,'2027-01-15 08:00:00','2027-01-15 08:00:00',NULL,NULL,NULL);
INSERT INTO `gearbox_jobs` (`id`, `method_name`, `arguments`, `priority`, `created_us`, `updated_us`, `status`, `dedupe`, `has_dedupe`, `after_date_us`, `after_id`, `before_id`, `completed_us`, `retries`, `max_retries`, `retry_delay`, `progress_status`, `progress_updated_us`, `result_data`, `runner_instance`, `ready_at`, `claimed_at`, `see_other`, `epoch`, `next_at`, `released`, `events`, `backoff`, `retry_delay_max`, `timeout`, `expires`, `opens_at`, `lease_at`, `stops_at`, `held`, `retry_of`, `schedule`, `submit_token`, `run_key`, `created`, `updated`, `after_date`, `completed`, `progress_updated`) VALUES (11,'a::b',NULL,'normal',1800000000000000,1800000000000000,'missing','d064d66d-e1fa-4c9d-b9d0-6f24fbccfb31',0,NULL,NULL,NULL,NULL,0,0,1,NULL,NULL,NULL,'core',1800000000000000,1800000000000000,NULL,1,1800000060000000,0,3,'fixed',3600,NULL,NULL,NULL,1800000060000000,NULL,NULL,NULL,NULL,NULL,NULL,'2027-01-15 08:00:00','2027-01-15 08:00:00',NULL,NULL,NULL);
INSERT INTO `gearbox_jobs` (`id`, `method_name`, `arguments`, `priority`, `created_us`, `updated_us`, `status`, `dedupe`, `has_dedupe`, `after_date_us`, `after_id`, `before_id`, `completed_us`, `retries`, `max_retries`, `retry_delay`, `progress_status`, `progress_updated_us`, `result_data`, `runner_instance`, `ready_at`, `claimed_at`, `see_other`, `epoch`, `next_at`, `released`, `events`, `backoff`, `retry_delay_max`, `timeout`, `expires`, `opens_at`, `lease_at`, `stops_at`, `held`, `retry_of`, `schedule`, `submit_token`, `run_key`, `created`, `updated`, `after_date`, `completed`, `progress_updated`) VALUES (12,'a::b',NULL,'normal',1800000000000000,1800000000000000,'waiting','182d8939-2d7f-42b2-8219-de0f6ee8c49d',0,1800001000000000,NULL,NULL,NULL,0,0,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,1800001000000000,0,1,'fixed',3600,NULL,NULL,1800001000000000,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'2027-01-15 08:00:00','2027-01-15 08:00:00','2027-01-15 08:16:40',NULL,NULL);
INSERT INTO `gearbox_jobs` (`id`, `method_name`, `arguments`, `priority`, `created_us`, `updated_us`, `status`, `dedupe`, `has_dedupe`, `after_date_us`, `after_id`, `before_id`, `completed_us`, `retries`, `max_retries`, `retry_delay`, `progress_status`, `progress_updated_us`, `result_data`, `runner_instance`, `ready_at`, `claimed_at`, `see_other`, `epoch`, `next_at`, `released`, `events`, `backoff`, `retry_delay_max`, `timeout`, `expires`, `opens_at`, `lease_at`, `stops_at`, `held`, `retry_of`, `schedule`, `submit_token`, `run_key`, `created`, `updated`, `after_date`, `completed`, `progress_updated`) VALUES (13,'a::b',NULL,'normal',1800000000000000,1800000000000000,'running','d3371774-1f00-454c-b4de-1ed58714ab76',0,NULL,NULL,12,NULL,0,0,1,NULL,NULL,NULL,'core',1800000000000000,1800000000000000,NULL,1,NULL,0,2,'fixed',3600,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'2027-01-15 08:00:00','2027-01-15 08:00:00',NULL,NULL,NULL);
INSERT INTO `gearbox_jobs` (`id`, `method_name`, `arguments`, `priority`, `created_us`, `updated_us`, `status`, `dedupe`, `has_dedupe`, `after_date_us`, `after_id`, `before_id`, `completed_us`, `retries`, `max_retries`, `retry_delay`, `progress_status`, `progress_updated_us`, `result_data`, `runner_instance`, `ready_at`, `claimed_at`, `see_other`, `epoch`, `next_at`, `released`, `events`, `backoff`, `retry_delay_max`, `timeout`, `expires`, `opens_at`, `lease_at`, `stops_at`, `held`, `retry_of`, `schedule`, `submit_token`, `run_key`, `created`, `updated`, `after_date`, `completed`, `progress_updated`) VALUES (14,'gearbox\\core::noopwait',NULL,'normal',1800000000000000,1800000000000000,'running','4c4480c2-168b-45e7-bc0b-8bd8348174e4',0,NULL,NULL,NULL,NULL,0,0,1,NULL,NULL,NULL,'core',1800000000000000,1800000000000000,NULL,1,NULL,0,2,'fixed',3600,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'2027-01-15 08:00:00','2027-01-15 08:00:00',NULL,NULL,NULL);
INSERT INTO `gearbox_jobs` (`id`, `method_name`, `arguments`, `priority`, `created_us`, `updated_us`, `status`, `dedupe`, `has_dedupe`, `after_date_us`, `after_id`, `before_id`, `completed_us`, `retries`, `max_retries`, `retry_delay`, `progress_status`, `progress_updated_us`, `result_data`, `runner_instance`, `ready_at`, `claimed_at`, `see_other`, `epoch`, `next_at`, `released`, `events`, `backoff`, `retry_delay_max`, `timeout`, `expires`, `opens_at`, `lease_at`, `stops_at`, `held`, `retry_of`, `schedule`, `submit_token`, `run_key`, `created`, `updated`, `after_date`, `completed`, `progress_updated`) VALUES (15,'c::d',NULL,'normal',1800000000000000,1800000000000000,'running','4a37c8e5-e982-4f75-b423-4e0f110b054d',0,NULL,NULL,NULL,NULL,0,0,1,NULL,NULL,NULL,'core',1800000000000000,1800000000000000,NULL,1,NULL,0,2,'fixed',3600,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'2027-01-15 08:00:00','2027-01-15 08:00:00',NULL,NULL,NULL);
INSERT INTO `gearbox_jobs` (`id`, `method_name`, `arguments`, `priority`, `created_us`, `updated_us`, `status`, `dedupe`, `has_dedupe`, `after_date_us`, `after_id`, `before_id`, `completed_us`, `retries`, `max_retries`, `retry_delay`, `progress_status`, `progress_updated_us`, `result_data`, `runner_instance`, `ready_at`, `claimed_at`, `see_other`, `epoch`, `next_at`, `released`, `events`, `backoff`, `retry_delay_max`, `timeout`, `expires`, `opens_at`, `lease_at`, `stops_at`, `held`, `retry_of`, `schedule`, `submit_token`, `run_key`, `created`, `updated`, `after_date`, `completed`, `progress_updated`) VALUES (16,'c::d',NULL,'normal',1800000000000000,1800000000000000,'ready','48a3f02c-aa25-466b-84a8-25ff1f918fcd',0,NULL,NULL,NULL,NULL,0,0,1,NULL,NULL,NULL,NULL,1800000000000000,NULL,NULL,0,NULL,0,1,'fixed',3600,NULL,NULL,NULL,NULL,NULL,1,NULL,NULL,NULL,NULL,'2027-01-15 08:00:00','2027-01-15 08:00:00',NULL,NULL,NULL);
/*!40000 ALTER TABLE `gearbox_jobs` ENABLE KEYS */;
UNLOCK TABLES;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `gearbox_measures` (
  `method_name` varchar(255) NOT NULL,
  `measure` varchar(16) NOT NULL,
  `bucket` bigint(20) NOT NULL,
  `jobs` bigint(20) NOT NULL,
  `total` double NOT NULL,
  `squares` double NOT NULL,
  PRIMARY KEY (`method_name`,`measure`,`bucket`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_nopad_bin;
/*!40101 SET character_set_client = @saved_cs_client */;

LOCK TABLES `gearbox_measures` WRITE;
/*!40000 ALTER TABLE `gearbox_measures` DISABLE KEYS */;
INSERT INTO `gearbox_measures` (`method_name`, `measure`, `bucket`, `jobs`, `total`, `squares`) VALUES ('a::b','completion',0,1,0,0);
INSERT INTO `gearbox_measures` (`method_name`, `measure`, `bucket`, `jobs`, `total`, `squares`) VALUES ('a::b','retries',0,2,0,0);
INSERT INTO `gearbox_measures` (`method_name`, `measure`, `bucket`, `jobs`, `total`, `squares`) VALUES ('a::b','run',0,1,0,0);
INSERT INTO `gearbox_measures` (`method_name`, `measure`, `bucket`, `jobs`, `total`, `squares`) VALUES ('a::b','wait',0,1,0,0);
/*!40000 ALTER TABLE `gearbox_measures` ENABLE KEYS */;
UNLOCK TABLES;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `gearbox_meta` (
  `name` varchar(64) NOT NULL,
  `value` varchar(255) NOT NULL,
  PRIMARY KEY (`name`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_nopad_bin;
/*!40101 SET character_set_client = @saved_cs_client */;

LOCK TABLES `gearbox_meta` WRITE;
/*!40000 ALTER TABLE `gearbox_meta` DISABLE KEYS */;
INSERT INTO `gearbox_meta` (`name`, `value`) VALUES ('controls','61f118269c22de1c');
INSERT INTO `gearbox_meta` (`name`, `value`) VALUES ('database','60a43bb6');
INSERT INTO `gearbox_meta` (`name`, `value`) VALUES ('oldest','1');
INSERT INTO `gearbox_meta` (`name`, `value`) VALUES ('schema','2');
/*!40000 ALTER TABLE `gearbox_meta` ENABLE KEYS */;
UNLOCK TABLES;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `gearbox_methods` (
  `method_name` varchar(255) NOT NULL,
  `earliest` bigint(20) NOT NULL,
  `latest` bigint(20) NOT NULL,
  PRIMARY KEY (`method_name`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_nopad_bin;
/*!40101 SET character_set_client = @saved_cs_client */;

LOCK TABLES `gearbox_methods` WRITE;
/*!40000 ALTER TABLE `gearbox_methods` DISABLE KEYS */;
INSERT INTO `gearbox_methods` (`method_name`, `earliest`, `latest`) VALUES ('a::b',1800000000000000,1800000000000000);
INSERT INTO `gearbox_methods` (`method_name`, `earliest`, `latest`) VALUES ('c::d',1800000000000000,1800000000000000);
INSERT INTO `gearbox_methods` (`method_name`, `earliest`, `latest`) VALUES ('gearbox\\core::noopwait',1800000000000000,1800000000000000);
/*!40000 ALTER TABLE `gearbox_methods` ENABLE KEYS */;
UNLOCK TABLES;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `gearbox_schedules` (
  `name` varchar(255) NOT NULL,
  `cron` varchar(255) NOT NULL,
  `timezone` varchar(255) NOT NULL,
  `overlap` enum('skip','queue','allow') NOT NULL,
  `missed` enum('skip','once','all') NOT NULL,
  `template` longtext NOT NULL,
  `created_us` bigint(20) NOT NULL,
  `who` text NOT NULL,
  `next_at` bigint(20) NOT NULL,
  `last_at` bigint(20) DEFAULT NULL,
  `last_job` bigint(20) DEFAULT NULL,
  `waiting` int(11) NOT NULL DEFAULT 0,
  PRIMARY KEY (`name`),
  KEY `due` (`next_at`),
  KEY `last_job` (`last_job`),
  CONSTRAINT `gearbox_schedules_ibfk_1` FOREIGN KEY (`last_job`) REFERENCES `gearbox_jobs` (`id`) ON DELETE SET NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_nopad_bin;
/*!40101 SET character_set_client = @saved_cs_client */;

LOCK TABLES `gearbox_schedules` WRITE;
/*!40000 ALTER TABLE `gearbox_schedules` DISABLE KEYS */;
/*!40000 ALTER TABLE `gearbox_schedules` ENABLE KEYS */;
UNLOCK TABLES;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `gearbox_writers` (
  `id` char(32) NOT NULL,
  `batch` bigint(20) NOT NULL,
  `seen_at` bigint(20) NOT NULL,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_nopad_bin;
/*!40101 SET character_set_client = @saved_cs_client */;

LOCK TABLES `gearbox_writers` WRITE;
/*!40000 ALTER TABLE `gearbox_writers` DISABLE KEYS */;
/*!40000 ALTER TABLE `gearbox_writers` ENABLE KEYS */;
UNLOCK TABLES;
/*!40103 SET TIME_ZONE=@OLD_TIME_ZONE */;

/*!40101 SET SQL_MODE=@OLD_SQL_MODE */;
/*!40014 SET FOREIGN_KEY_CHECKS=@OLD_FOREIGN_KEY_CHECKS */;
/*!40014 SET UNIQUE_CHECKS=@OLD_UNIQUE_CHECKS */;
/*!40111 SET SQL_NOTES=@OLD_SQL_NOTES */;

