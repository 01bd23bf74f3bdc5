// Says whether a file is a valid OpenAPI 3.1 document: node openapi.mjs FILE
import { Validator } from "@seriousme/openapi-schema-validator";

const validator = new Validator();
const result = await validator.validate(process.argv[2]);
if (!result.valid) {
  console.error(JSON.stringify(result.errors, null, 2));
  process.exit(1);
}
if (validator.version !== "3.1") {
  console.error(`version ${validator.version}: want 3.1`);
  process.exit(1);
}
