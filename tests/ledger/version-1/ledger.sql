BEGIN TRANSACTION;
CREATE TABLE decisions (
	seq INTEGER NOT NULL, 
	study VARCHAR(64) NOT NULL, 
	"key" TEXT NOT NULL, 
	value TEXT NOT NULL, 
	at VARCHAR(32) NOT NULL, 
	PRIMARY KEY (seq), 
	UNIQUE (study, "key"), 
	FOREIGN KEY(study) REFERENCES studies (id)
);
INSERT INTO "decisions" VALUES(1,'0123456789abcdef','arm/majority','{"admitted": true, "reason": "a control"}','2026-11-21T00:33:53+00:00');
CREATE TABLE events (
	run VARCHAR(64) NOT NULL, 
	seq INTEGER NOT NULL, 
	payload TEXT NOT NULL, 
	PRIMARY KEY (run, seq), 
	FOREIGN KEY(run) REFERENCES runs (id)
);
INSERT INTO "events" VALUES('aaaa',1,'{"kind": "started", "run": "aaaa", "notes": []}');
INSERT INTO "events" VALUES('bbbb',1,'{"kind": "started", "run": "bbbb", "notes": []}');
INSERT INTO "events" VALUES('cccc',1,'{"kind": "started", "run": "cccc", "notes": []}');
CREATE TABLE openings (
	sealed VARCHAR(64) NOT NULL, 
	study VARCHAR(64) NOT NULL, 
	at VARCHAR(32) NOT NULL, 
	PRIMARY KEY (sealed, study), 
	FOREIGN KEY(study) REFERENCES studies (id)
);
INSERT INTO "openings" VALUES('eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee','0123456789abcdef','2026-11-21T00:33:53+00:00');
CREATE TABLE runs (
	id VARCHAR(64) NOT NULL, 
	configuration TEXT NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	failure TEXT, 
	summary TEXT, 
	arrays VARCHAR(64), 
	state VARCHAR(64), 
	checkpoint_step INTEGER, 
	checkpoint_progress TEXT, 
	checkpoint_state VARCHAR(64), 
	checkpoint_events INTEGER, 
	PRIMARY KEY (id)
);
INSERT INTO "runs" VALUES('aaaa','{"protocol": {"modules": []}, "seed": 7}','done',NULL,'{"metrics": {"accuracy": 0.5, "auroc": NaN}}','d5792c1965162f647a34f8dcc2338a022e8ced1f4a0d338e4ac6ac931c460ad6','e8227bd01917ae8d83315b2a138b79735f7cc3f8f5fbf8b678765a566460e9b8',NULL,NULL,NULL,NULL);
INSERT INTO "runs" VALUES('bbbb','{"protocol": {"modules": []}, "seed": 7}','failed','diverged: loss is nan',NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "runs" VALUES('cccc','{"protocol": {"modules": []}, "seed": 7}','open',NULL,NULL,NULL,NULL,4,'{"best": 0.25}','e41654da78824a1a05271564bec61bdae23a487ccbca9a9b77cbc176181d6764',1);
CREATE TABLE schema_version (
	version INTEGER NOT NULL
);
INSERT INTO "schema_version" VALUES(1);
CREATE TABLE studies (
	id VARCHAR(64) NOT NULL, 
	name TEXT NOT NULL, 
	created VARCHAR(32) NOT NULL, 
	configuration TEXT NOT NULL, 
	seconds FLOAT NOT NULL, 
	record VARCHAR(64), 
	verdict TEXT, 
	PRIMARY KEY (id)
);
INSERT INTO "studies" VALUES('0123456789abcdef','bees','2026-11-21T00:33:53+00:00','{"seed": 0}',12.5,'c9e1c4fb4659f4dcda6e7c9e97844214b174a49b7f087c08553907b733964aa5','Recommend.');
INSERT INTO "studies" VALUES('fedcba9876543210','ants','2026-11-21T00:33:53+00:00','{"seed": 1}',0.0,NULL,NULL);
CREATE TABLE study_runs (
	study VARCHAR(64) NOT NULL, 
	run VARCHAR(64) NOT NULL, 
	protocol TEXT NOT NULL, 
	role VARCHAR(40) NOT NULL, 
	reason TEXT NOT NULL, 
	position INTEGER NOT NULL, 
	PRIMARY KEY (study, run), 
	FOREIGN KEY(study) REFERENCES studies (id), 
	FOREIGN KEY(run) REFERENCES runs (id)
);
INSERT INTO "study_runs" VALUES('0123456789abcdef','aaaa','protocol-aaaa','control','cheap',0);
INSERT INTO "study_runs" VALUES('0123456789abcdef','bbbb','protocol-bbbb','candidate','cheap',1);
INSERT INTO "study_runs" VALUES('0123456789abcdef','cccc','protocol-cccc','candidate','cheap',2);
COMMIT;
