// Flaps for [sinks.serial] of smartbin: one servo a bin, one line of text a decision. See device/sinks/serial_sink.py.
#include <Servo.h>

struct Flap { const char *bin; uint8_t pin; Servo servo; };
Flap flaps[] = {{"recycling", 9}, {"general", 10}};
const int REST = 5, OPEN = 95, UNSURE_LED = LED_BUILTIN;
const unsigned long HOLD_MS = 3000, SILENCE_MS = 15000;  // three times ping_s

char line[64];
uint8_t length = 0;
unsigned long openedMs = 0, heardMs = 0;
bool open_ = false;

void rest() {
  for (Flap &flap : flaps) flap.servo.write(REST);
  digitalWrite(UNSURE_LED, LOW);
  open_ = false;
}

bool openBin(const char *bin) {
  for (Flap &flap : flaps) {
    if (strcmp(flap.bin, bin) == 0) {
      rest();
      flap.servo.write(OPEN);
      openedMs = millis();
      open_ = true;
      return true;
    }
  }
  return false;
}

void obey() {
  heardMs = millis();
  bool unsure = strncmp(line, "UNSURE ", 7) == 0;
  if (strcmp(line, "PING") == 0) {
    Serial.print("OK\n");
  } else if (strcmp(line, "REST") == 0) {
    rest();
    Serial.print("OK\n");
  } else if (unsure || strncmp(line, "OPEN ", 5) == 0) {
    bool known = openBin(line + (unsure ? 7 : 5));
    if (unsure) digitalWrite(UNSURE_LED, HIGH);
    Serial.print(known ? "OK\n" : "ERR no such bin\n");
  } else {
    Serial.print("ERR what?\n");
  }
}

void setup() {
  Serial.begin(115200);
  pinMode(UNSURE_LED, OUTPUT);
  for (Flap &flap : flaps) flap.servo.attach(flap.pin);
  rest();
  Serial.print("READY\n");
}

void loop() {
  while (Serial.available()) {
    char c = Serial.read();
    if (c == '\n') {
      line[length] = '\0';
      length = 0;
      obey();
    } else if (length < sizeof(line) - 1) {
      line[length++] = c;
    }
  }
  if (open_ && millis() - openedMs >= HOLD_MS) rest();
  if (open_ && millis() - heardMs >= SILENCE_MS) rest();  // the computer has gone
}
