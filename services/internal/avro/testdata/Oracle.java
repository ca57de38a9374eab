// Avro's own Java library as the judge: reads one request a line (a JSON array of strings, the first of which says what is
// wanted) and answers with one line of JSON each.
//   ["parse", schema, reference…]   ->  {"ok": true, "text": schema.toString()} or {"ok": false, "error": "…"}
//   ["compare", reader, writer]     ->  {"ok": true, "found": [["TYPE", "/location", "message"], …]}, or as above
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.InputStreamReader;
import java.io.OutputStreamWriter;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.apache.avro.Schema;
import org.apache.avro.SchemaCompatibility;

public class Oracle {
  static final ObjectMapper MAPPER = new ObjectMapper();

  public static void main(String[] args) throws Exception {
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    BufferedWriter out = new BufferedWriter(new OutputStreamWriter(System.out, StandardCharsets.UTF_8));
    for (String line; (line = in.readLine()) != null; ) {
      ObjectNode answer = MAPPER.createObjectNode();
      try {
        judge(MAPPER.readTree(line), answer);
      } catch (Throwable e) {
        answer.removeAll();
        answer.put("ok", false).put("error", e.getClass().getSimpleName() + ": " + e.getMessage());
      }
      out.write(MAPPER.writeValueAsString(answer));
      out.write('\n');
      out.flush();
    }
  }

  static void judge(JsonNode request, ObjectNode answer) {
    if (request.get(0).asText().equals("parse")) {
      Schema.Parser parser = new Schema.Parser();
      List<Schema> references = new ArrayList<>();
      for (int i = 2; i < request.size(); i++) {
        references.add(parser.parse(request.get(i).asText()));
      }
      Schema schema = parser.parse(request.get(1).asText());
      answer.put("ok", true).put("text", schema.toString(references, false));
      return;
    }
    Schema reader = new Schema.Parser().parse(request.get(1).asText());
    Schema writer = new Schema.Parser().parse(request.get(2).asText());
    ArrayNode found = answer.put("ok", true).putArray("found");
    for (SchemaCompatibility.Incompatibility i :
        SchemaCompatibility.checkReaderWriterCompatibility(reader, writer).getResult().getIncompatibilities()) {
      found.addArray().add(i.getType().name()).add(i.getLocation()).add(i.getMessage());
    }
  }
}
